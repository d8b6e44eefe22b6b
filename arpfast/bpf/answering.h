/* The answer inside the kernel: answer() itself, as an XDP program and at tc ingress.
 *
 * What it comes to is REPLY or nothing of the program's: the reply goes back out where the question came in, and every
 * other frame goes on as if the program were not there: up to the thread's socket, which judges it again and tells
 * Python, and to the host's own stack. So do questions that only the thread may answer: those of other members of the
 * ring, who ask to know that *it* lives, and all of them once the term is over (`struct term`): a daemon that is dead
 * or stands still stops answering by itself. A reply that the limit refuses dies here if its asker alone is to blame,
 * as at the guard; where all together are, the frame goes on to the filter, and to the host's own stack.
 *
 * XDP reads ARP where it lies, and copies Neighbor Discovery, whose length varies, to a sheet: the memory of one
 * processor, in a map, since what is written to the stack costs dearly without CAP_PERFMON (words.h). tc, which may
 * not write to a frame that others hold as well, copies both, and the reply back. What is not answered is left as it
 * came. More than ND_UNITS of Neighbor Discovery are not copied, and not judged. */
#ifndef ARPFAST_BPF_ANSWERING_H
#define ARPFAST_BPF_ANSWERING_H

#include "../answer.h"

enum { JUDGED_MAX = ND_AT + ND_UNITS * 8 };

/* So that what IP has aligned is aligned here as well. */
struct sheet {
    __u16 padding;
    __u8 frame[JUDGED_MAX];
    struct outcome outcome;
    __u32 place;
} __attribute__((aligned(8)));

_Static_assert(sizeof(struct sheet) >= sizeof(__u16) + FRAME_ROOM, "every reply has room");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sheet);
} sheets SEC(".maps");

static __always_inline int is_long(const __u8 *frame) {
    return net16(((const struct nd_frame *)frame)->ipv6.payload_length) > ND_UNITS * 8;
}

static __always_inline int is_over(__u64 coarse_ns) {
    if (terms.boot_until_ns) return bpf_ktime_get_boot_ns() > terms.boot_until_ns;
    return coarse_ns > terms.until_ns;
}

/* What to do with a frame. */
enum deed { LEAVE, REFUSE, SEND };

static __always_inline enum deed judge_reply(__u64 coarse_ns, const struct outcome *outcome, __u64 asker,
                                             __u32 *verdict) {
    if (terms.members && members_have(NULL, outcome->mac)) {
        *verdict = UNJUDGED;
        return LEAVE;
    }
    if (is_over(coarse_ns)) {
        *verdict = VERDICT_FROZEN;
        return LEAVE;
    }
    const struct limits *set = &limits;
    if (!set->asker.cost_ns && !set->all.cost_ns) return SEND;
    enum admission admission = admit(asker, CONCERN_ASKED, set, 0);
    if (admission == ADMITTED) return SEND;
    *verdict = VERDICT_LIMITED;
    return admission == ASKER_LIMITED ? REFUSE : LEAVE;
}

/* Remembers who is answered: for the address, and among all. Who probed has no address yet, and need not be told of
 * anything. */
static __always_inline void note_asker(__u64 now_ns, __u32 ifindex, const __u8 *frame, const struct outcome *outcome) {
    __u64 number = mac_number(outcome->mac), mac = number | (__u64)outcome->version << 48, high, low = 0;
    recent_note(&asked[asked_index(outcome->version, outcome->address) % ASKED_SIZE], now_ns, mac,
                load64(outcome->address), load64(outcome->address + 8), ifindex);
    if (outcome->version == 4) {
        high = load32(((const struct arp *)(frame + sizeof(struct ethernet)))->spa);
    } else {
        high = load64(((const struct nd_frame *)frame)->ipv6.source);
        low = load64(((const struct nd_frame *)frame)->ipv6.source + 8);
    }
    if (high | low)
        recent_note(&asked_by[askers_index(number, ifindex, high, low) % ASKERS_SIZE], now_ns, mac, high, low, ifindex);
}

static __always_inline void tally(struct sheet *sheet, __u64 seat, __u32 verdict) {
    sheet->place = tally_key(seat >> 32, verdict);
    __u64 *count = bpf_map_lookup_elem(&tallies, &sheet->place);
    if (count) (*count)++;
}

static __always_inline const struct link *identity(__u64 seat) {
    return &identities[seat % LINKS_KEPT];
}

/* What to do with a frame of which that verdict was found. */
static __always_inline enum deed decide(struct sheet *sheet, __u64 seat, const __u8 *frame, __u32 verdict,
                                        const struct outcome *outcome) {
    enum deed deed = LEAVE;
    if (verdict == VERDICT_REPLY) {
        __u64 now_ns = bpf_ktime_get_coarse_ns();
        deed = judge_reply(now_ns, outcome, mac_number(((const struct ethernet *)frame)->source), &verdict);
        if (deed == SEND) note_asker(now_ns, seat >> 32, frame, outcome);
    }
    tally(sheet, seat, verdict);
    return deed;
}

static __always_inline enum deed judge_as_arp(struct sheet *sheet, __u64 seat, const __u8 *frame, __u32 length,
                                              struct outcome *outcome) {
    const struct link *link = identity(seat);
    *outcome = (struct outcome){0};
    __u32 verdict = VERDICT_NOT_FOR_US;
    if (is_for_us(link, frame)) verdict = judge_arp(table_in(seat >> 16 & 0xffff), link, frame, length, outcome);
    return decide(sheet, seat, frame, verdict, outcome);
}

static __always_inline enum deed judge_as_nd(struct sheet *sheet, __u64 seat, const __u8 *frame, __u32 length,
                                             struct outcome *outcome) {
    const struct link *link = identity(seat);
    *outcome = (struct outcome){0};
    __u32 verdict = VERDICT_NOT_FOR_US;
    if (is_long(frame))
        verdict = UNJUDGED;
    else if (is_for_us(link, frame))
        verdict = judge_nd(table_in(seat >> 16 & 0xffff), link, frame, length, outcome);
    return decide(sheet, seat, frame, verdict, outcome);
}

/* By comparisons that the verifier takes: neither for equality nor by a difference. */
static __always_inline int is_as_long(const __u8 *frame, __u32 length, const __u8 *end) {
    return frame + length <= end && frame + length + 1 > end;
}

/* Copies what is there of a frame, up to JUDGED_MAX, in whole words, and returns how much; for a message is as long as
 * so many words. Of one that ends within its first word, the one byte that says what it is. */
static __always_inline __u32 copy(struct sheet *sheet, const __u8 *data, const __u8 *end) {
    __u32 copied = 6;
    __builtin_memcpy(sheet->frame, data, 6);
    UNROLLED
    for (__u32 at = 6; at < JUDGED_MAX; at += 8) {
        STEP;
        if (data + at + 8 > end) break;
        __u64 word = load64(data + at);
        __builtin_memcpy(sheet->frame + at, &word, 8);
        copied = at + 8;
    }
    if (data + ND_AT + 8 > end && data + ND_AT + 1 <= end) {
        sheet->frame[ND_AT] = data[ND_AT];
        copied = ND_AT + 1;
    }
    return copied;
}

/* Makes the frame as long as the reply; 0 if it cannot be. */
static __always_inline int fit(struct xdp_md *context, __u32 length) {
    const __u8 *data = (const __u8 *)(long)context->data, *end = (const __u8 *)(long)context->data_end;
    return is_as_long(data, length, end) ||
           !bpf_xdp_adjust_tail(context, (int)length - (int)bpf_xdp_get_buff_len(context));
}

static __always_inline int answer_xdp_arp(struct xdp_md *context, struct sheet *sheet, __u64 seat) {
    const __u8 *data = (const __u8 *)(long)context->data, *end = (const __u8 *)(long)context->data_end;
    struct outcome outcome;
    if (data + sizeof(struct ethernet) + sizeof(struct arp) > end) return XDP_PASS;
    enum deed deed = judge_as_arp(sheet, seat, ALIGNED(data), sizeof(struct ethernet) + sizeof(struct arp), &outcome);
    if (deed != SEND) return deed == REFUSE ? XDP_DROP : XDP_PASS;
    if (!fit(context, sizeof(struct arp_frame))) return XDP_PASS;
    __u8 *out = (__u8 *)(long)context->data;
    end = (const __u8 *)(long)context->data_end;
    if (out + sizeof(struct arp_frame) > end) return XDP_DROP; /* which it does not: it was made as long */
    arp_reply(identity(seat), ALIGNED(out), ALIGNED(out));
    return XDP_TX;
}

static __always_inline int answer_xdp_nd(struct xdp_md *context, struct sheet *sheet, __u64 seat) {
    const __u8 *data = (const __u8 *)(long)context->data, *end = (const __u8 *)(long)context->data_end;
    if (data + ND_AT > end) return XDP_PASS;
    __u32 length = copy(sheet, ALIGNED(data), end);
    /* of what is not of whole words, the words do not say whether all is there */
    if (((const struct nd_frame *)sheet->frame)->ipv6.payload_length & net16(7)) length = bpf_xdp_get_buff_len(context);
    enum deed deed = judge_as_nd(sheet, seat, sheet->frame, length, &sheet->outcome);
    if (deed != SEND) return deed == REFUSE ? XDP_DROP : XDP_PASS;
    if (!fit(context, sizeof(struct nd_frame))) return XDP_PASS;
    __u8 *out = (__u8 *)(long)context->data;
    end = (const __u8 *)(long)context->data_end;
    if (out + sizeof(struct nd_frame) > end) return XDP_DROP;
    nd_reply(identity(seat), sheet->frame, ALIGNED(out), sheet->outcome.mac, (enum kind)sheet->outcome.kind);
    return XDP_TX;
}

/* Of one option, as nearly all are. */
static __always_inline int answer_xdp_usual_nd(struct xdp_md *context, struct sheet *sheet, __u64 seat) {
    const __u8 *data = (const __u8 *)(long)context->data, *end = (const __u8 *)(long)context->data_end;
    struct outcome outcome;
    if (data + sizeof(struct nd_frame) > end) return XDP_PASS;
    enum deed deed = judge_as_nd(sheet, seat, ALIGNED(data), sizeof(struct nd_frame), &outcome);
    if (deed != SEND) return deed == REFUSE ? XDP_DROP : XDP_PASS;
    if (!fit(context, sizeof(struct nd_frame))) return XDP_PASS;
    __u8 *out = (__u8 *)(long)context->data;
    end = (const __u8 *)(long)context->data_end;
    if (out + sizeof(struct nd_frame) > end) return XDP_DROP;
    nd_reply(identity(seat), ALIGNED(out), ALIGNED(out), outcome.mac, (enum kind)outcome.kind);
    return XDP_TX;
}

SEC("xdp")
int answer_xdp(struct xdp_md *context) {
    const __u8 *data = (const __u8 *)(long)context->data, *end = (const __u8 *)(long)context->data_end;
    if (data + sizeof(struct ethernet) + sizeof(struct arp) > end) return XDP_PASS;
    const struct nd_frame *frame = ALIGNED((const struct nd_frame *)data);
    int is_arp = frame->ethernet.type == net16(TYPE_ARP);
    if (!is_arp && (frame->ethernet.type != net16(TYPE_IPV6) || frame->ipv6.next_header != IPPROTO_ICMP6))
        return XDP_PASS;
    __u64 seat = seat_of(context->ingress_ifindex);
    if (!seat) return XDP_PASS;
    struct sheet *sheet = bpf_map_lookup_elem(&sheets, &only);
    if (!sheet) return XDP_PASS;
    if (is_arp) return answer_xdp_arp(context, sheet, seat);
    int usual = frame->ipv6.payload_length == net16(sizeof(struct nd_frame) - ND_AT);
    if (usual && data + sizeof(struct nd_frame) <= end) return answer_xdp_usual_nd(context, sheet, seat);
    return answer_xdp_nd(context, sheet, seat);
}

/* Ethernet header, and IPv6's as far as its next header: enough to leave other traffic alone. */
struct glimpse {
    struct ethernet ethernet;
    __u8 ipv6[7];
} PACKED __attribute__((aligned(8)));

SEC("tc")
int answer_tc(struct __sk_buff *skb) {
    struct glimpse glimpse;
    int is_arp = skb->protocol == bpf_htons(ETH_P_ARP);
    if (!is_arp && skb->protocol != bpf_htons(ETH_P_IPV6)) return GO_ON;
    if (bpf_skb_load_bytes(skb, 0, &glimpse, sizeof glimpse)) return GO_ON;
    if (glimpse.ethernet.type != (is_arp ? net16(TYPE_ARP) : net16(TYPE_IPV6))) return GO_ON;
    if ((!is_arp && glimpse.ipv6[6] != IPPROTO_ICMP6) || stray(skb)) return GO_ON;
    __u64 seat = seat_of(skb->ifindex);
    if (!seat) return GO_ON;
    struct sheet *sheet = bpf_map_lookup_elem(&sheets, &only);
    __u64 length = skb->len, copied = length < JUDGED_MAX ? length : JUDGED_MAX;
    if (!sheet || copied < sizeof(struct ethernet) || bpf_skb_load_bytes(skb, 0, sheet->frame, copied)) return GO_ON;
    __u32 longer = is_arp ? sizeof(struct arp_frame) : sizeof(struct nd_frame);
    struct outcome *outcome = &sheet->outcome;
    enum deed deed = is_arp ? judge_as_arp(sheet, seat, sheet->frame, length, outcome)
                            : judge_as_nd(sheet, seat, sheet->frame, length, outcome);
    if (deed != SEND) return deed == REFUSE ? TC_ACT_SHOT : GO_ON;
    if (length != longer && bpf_skb_change_tail(skb, longer, 0)) return GO_ON;
    write_reply(identity(seat), sheet->frame, sheet->frame, outcome);
    if (is_arp ? bpf_skb_store_bytes(skb, 0, sheet->frame, sizeof(struct arp_frame), BPF_F_RECOMPUTE_CSUM)
               : bpf_skb_store_bytes(skb, 0, sheet->frame, sizeof(struct nd_frame), BPF_F_RECOMPUTE_CSUM))
        return TC_ACT_SHOT; /* of a frame of this length it does not happen; it is no question any more */
    return bpf_redirect(skb->ifindex, 0);
}

#endif
