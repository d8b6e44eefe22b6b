/* The answer inside the kernel: answer() itself, as an XDP program and at tc ingress.
 *
 * What it comes to is REPLY or nothing of the program's: the reply goes back out where the question came in, and every
 * other frame goes on as if the program were not there: up to the thread's socket, which judges it again and tells
 * Python, and to the host's own stack. So do questions that only the thread may answer: those of other members of the
 * ring, who ask to know that *it* lives, and all of them once the term is over (`struct term`): a daemon that is dead
 * or stands still stops answering by itself. A reply that the limit refuses dies here if its asker alone is to blame,
 * as at the guard; where all together are, the frame goes on to the filter, and to the host's own stack.
 *
 * The frame is copied to the stack and judged there: what is not answered is left as it came. More than ND_UNITS of
 * Neighbor Discovery are not copied, and not judged. All loads without CAP_PERFMON: helpers only. */
#ifndef ARPFAST_BPF_ANSWERING_H
#define ARPFAST_BPF_ANSWERING_H

#include "../answer.h"

enum { JUDGED_MAX = ND_AT + ND_UNITS * 8, GLIMPSE = ND_AT - 33 };

/* So that what IP has aligned is aligned here as well. */
struct sheet {
    __u16 padding;
    __u8 frame[JUDGED_MAX];
} __attribute__((aligned(8)));

_Static_assert(sizeof(struct sheet) >= sizeof(__u16) + FRAME_ROOM, "every reply has room");

/* Ethernet header, and IPv6's as far as its next header: enough to leave other traffic alone. */
struct glimpse {
    struct ethernet ethernet;
    __u8 ipv6[7];
} PACKED __attribute__((aligned(8)));

static __always_inline int is_worth_a_look(const struct glimpse *glimpse) {
    if (glimpse->ethernet.type == net16(TYPE_ARP)) return 1;
    return glimpse->ethernet.type == net16(TYPE_IPV6) && glimpse->ipv6[6] == IPPROTO_ICMP6;
}

static __always_inline int is_long(const struct sheet *sheet) {
    const struct nd_frame *nd = (const struct nd_frame *)sheet->frame;
    return nd->ethernet.type == net16(TYPE_IPV6) && net16(nd->ipv6.payload_length) > ND_UNITS * 8;
}

static __always_inline int is_over(const struct term *term) {
    if (term->boot_until_ns) return bpf_ktime_get_boot_ns() > term->boot_until_ns;
    return bpf_ktime_get_coarse_ns() > term->until_ns;
}

/* What to do with a frame; the reply then lies in the sheet. */
enum deed { LEAVE, REFUSE, SEND };

static __always_inline enum deed judge_reply(const struct term *term, const struct outcome *outcome, __u64 asker,
                                             __u32 *verdict) {
    if (term->members && members_have(NULL, outcome->mac)) {
        *verdict = UNJUDGED;
        return LEAVE;
    }
    if (is_over(term)) {
        *verdict = VERDICT_FROZEN;
        return LEAVE;
    }
    const struct limits *set = limits_now();
    if (!set || (!set->asker.cost_ns && !set->all.cost_ns)) return SEND;
    enum admission admission = admit(asker, CONCERN_ASKED, set, 0);
    if (admission == ADMITTED) return SEND;
    *verdict = VERDICT_LIMITED;
    return admission == ASKER_LIMITED ? REFUSE : LEAVE;
}

/* Remembers who is answered: for the address, and among all. The reply, which lies in the sheet, has the asker's own
 * address; who probed has none, and need not be told of anything. */
static __always_inline void note_asker(__u32 ifindex, const struct sheet *sheet, const struct outcome *outcome) {
    struct recent now = {.monotonic_ns = bpf_ktime_get_coarse_ns(),
                         .mac = mac_number(outcome->mac) | (__u64)outcome->version << 48,
                         .ifindex = ifindex};
    __u32 at = asked_index(outcome->version, outcome->address);
    now.high = load64(outcome->address);
    now.low = load64(outcome->address + 8);
    struct recent *entry = bpf_map_lookup_elem(&asked, &at);
    if (entry) recent_note(entry, &now);
    if (outcome->version == 4) {
        now.high = load32(((const struct arp_frame *)sheet->frame)->arp.tpa);
        if (!now.high) return;
        now.low = 0;
    } else {
        const __u8 *destination = ((const struct nd_frame *)sheet->frame)->ipv6.destination;
        if (ip6_is_multicast(destination)) return;
        now.high = load64(destination);
        now.low = load64(destination + 8);
    }
    at = askers_index(mac_number(outcome->mac), ifindex, now.high, now.low);
    entry = bpf_map_lookup_elem(&asked_by, &at);
    if (entry) recent_note(entry, &now);
}

static __always_inline enum deed respond(__u64 seat, struct sheet *sheet, __u32 length, __u32 *reply_length) {
    __u32 key = seat & 0xffff, zero = 0;
    const struct link *link = bpf_map_lookup_elem(&identities, &key);
    const struct term *term = bpf_map_lookup_elem(&terms, &zero);
    if (!link || !term) return LEAVE;
    struct outcome outcome = {};
    __u32 verdict = UNJUDGED;
    enum deed deed = LEAVE;
    if (!is_long(sheet)) {
        __u64 asker = mac_number(((const struct ethernet *)sheet->frame)->source);
        verdict = answer(table_in(seat >> 16 & 0xffff), link, sheet->frame, length, sizeof sheet->frame, &outcome);
        if (verdict == VERDICT_REPLY) deed = judge_reply(term, &outcome, asker, &verdict);
        if (deed == SEND) note_asker(seat >> 32, sheet, &outcome);
    }
    __u32 place = tally_key(seat >> 32, verdict);
    __u64 *tally = bpf_map_lookup_elem(&tallies, &place);
    if (tally) (*tally)++;
    *reply_length = outcome.reply_length;
    return deed;
}

SEC("xdp")
int answer_xdp(struct xdp_md *context) {
    struct glimpse glimpse;
    if (bpf_xdp_load_bytes(context, 0, &glimpse, sizeof glimpse) || !is_worth_a_look(&glimpse)) return XDP_PASS;
    __u64 seat = seat_of(context->ingress_ifindex), length = bpf_xdp_get_buff_len(context);
    if (!seat) return XDP_PASS;
    struct sheet sheet = {};
    __u32 reply_length = 0, copied = length < JUDGED_MAX ? length : JUDGED_MAX;
    if (copied < sizeof(struct ethernet) || bpf_xdp_load_bytes(context, 0, sheet.frame, copied)) return XDP_PASS;
    enum deed deed = respond(seat, &sheet, length, &reply_length);
    if (deed != SEND) return deed == REFUSE ? XDP_DROP : XDP_PASS;
    if (length != reply_length && bpf_xdp_adjust_tail(context, (int)reply_length - (int)length)) return XDP_PASS;
    if (reply_length == sizeof(struct arp_frame)
            ? bpf_xdp_store_bytes(context, 0, sheet.frame, sizeof(struct arp_frame))
            : bpf_xdp_store_bytes(context, 0, sheet.frame, sizeof(struct nd_frame)))
        return XDP_DROP; /* of a frame of this length it does not happen; what it has become is no question any more */
    return XDP_TX;
}

SEC("tc")
int answer_tc(struct __sk_buff *skb) {
    struct glimpse glimpse;
    if (skb->protocol != bpf_htons(ETH_P_ARP) && skb->protocol != bpf_htons(ETH_P_IPV6)) return GO_ON;
    if (bpf_skb_load_bytes(skb, 0, &glimpse, sizeof glimpse) || !is_worth_a_look(&glimpse) || stray(skb)) return GO_ON;
    __u64 seat = seat_of(skb->ifindex);
    if (!seat) return GO_ON;
    struct sheet sheet = {};
    __u32 length = skb->len, reply_length = 0, copied = length < JUDGED_MAX ? length : JUDGED_MAX;
    if (copied < sizeof(struct ethernet) || bpf_skb_load_bytes(skb, 0, sheet.frame, copied)) return GO_ON;
    enum deed deed = respond(seat, &sheet, length, &reply_length);
    if (deed != SEND) return deed == REFUSE ? TC_ACT_SHOT : GO_ON;
    if (length != reply_length && bpf_skb_change_tail(skb, reply_length, 0)) return GO_ON;
    if (reply_length == sizeof(struct arp_frame)
            ? bpf_skb_store_bytes(skb, 0, sheet.frame, sizeof(struct arp_frame), BPF_F_RECOMPUTE_CSUM)
            : bpf_skb_store_bytes(skb, 0, sheet.frame, sizeof(struct nd_frame), BPF_F_RECOMPUTE_CSUM))
        return TC_ACT_SHOT; /* as above */
    return bpf_redirect(skb->ifindex, 0);
}

#endif
