/* What dies in the kernel: two socket filters and a guard.
 *
 * The filters (`filter_arp`, `filter_nd`) sit on the responder's packet sockets, bound to ETH_P_ARP and ETH_P_IPV6, and
 * let through what concerns an address of the interface's table: a question about it, a claim to it, an answer sent to
 * it. They judge nothing else: whether a frame is well made, and what to reply, is for `answer()`. The rule is that a
 * frame which `answer()` would answer, count as a conflict, as taken or as confirmed always passes, if no limit is set.
 *
 * The guard (`guard`) sits at tc ingress, where refusing a frame costs a third of what it costs at the socket, because
 * it has not been cloned nor carried through the stack yet. But there it stands before the host's own stack as well, so
 * it may only refuse what that stack has no use for: questions about our addresses (which the kernel does not own) from
 * a MAC that has asked too much. Foreign questions, claims, answers and all other traffic go on untouched. Newcomers
 * pass: it is the filter that gets to know them. And it has no bucket for all askers together: where a proxied prefix
 * holds an address of the host itself, one asker's flood would cost the others the kernel's answers. That bucket is in
 * the filters, behind which there is only us.
 *
 * The look-up is table.h, the very code that user space runs; the words of a table lie in an array map, and `tables`
 * says which array belongs to an interface. A new table is a new array, filled before it is put into its slot; the
 * kernel exchanges the one pointer, so a program sees the old table or the new one. All of it loads with CAP_BPF (the
 * guard with CAP_NET_ADMIN besides) and without CAP_PERFMON: no arithmetic on pointers, only helper calls. */
#include <linux/bpf.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* A call costs more than most of what would be called. */
#define inline inline __attribute__((always_inline))

static inline int is_member(__u64 mac);
#define MEMBERS_HOLD(members, number) ((void)(members), is_member(number))

#include "maps.h"

const char under[] SEC("license") = "Apache-2.0";

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, LINKS_MAX);
    __type(key, __u32); /* ifindex */
    __type(value, struct place);
} links SEC(".maps");

/* BPF_F_INNER_MAP: the arrays may differ in length, each is as long as its table. */
struct words {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64[PAGE_WORDS]);
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, SLOTS_MAX);
    __type(key, __u32); /* slot */
    __array(values, struct words);
} tables SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, MEMBERS_MAX);
    __type(key, __u64);   /* hardware address of a member of our ring, as an asker's */
    __type(value, __u32); /* 1 */
} members SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, ASKERS_MAX);
    __type(key, __u64); /* source MAC in network order, two bytes of zero */
    __type(value, __u64);
} askers SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, COUNTERS);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

/* What user space reads and writes in place, and the programs by direct access: a map of one value each, which costs
 * neither a call nor a key. */
#define SHARED(name) SEC(".bss." #name)

struct outline outlines[SLOTS_MAX] SHARED(outlines);
struct limits limits SHARED(limits);
__u64 all_askers SHARED(all_askers);
__u64 seats[SEATS_MAX] SHARED(seats); /* by ifindex modulo SEATS_MAX */
struct link identities[LINKS_KEPT] SHARED(identities);
struct term terms SHARED(terms);
struct recent asked[ASKED_SIZE] SHARED(asked);        /* by asked_index() */
struct recent asked_by[ASKERS_SIZE] SHARED(asked_by); /* by askers_index() */

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, SEATS_MAX *SEAT_TALLIES);
    __type(key, __u32); /* tally_key() */
    __type(value, __u64);
} tallies SEC(".maps");

#include "words.h"

/* What a frame is to us. */
enum concern {
    CONCERN_NONE,
    CONCERN_ASKED, /* a question for an address of ours: the one thing that we answer, so the one that may be too much
                    */
    CONCERN_TOLD,  /* a claim to an address of ours, or an answer to it */
};

/* Answers and claims are limited as well once a limit is set, so that a flood of them fills no ring either; but a
 * router that confirms a whole pool in one go must not be held up. */
static const struct bucket told_bucket = {.cost_ns = 10000, .window_ns = 100000000};

enum { ARP_LENGTH = sizeof(struct ethernet) + sizeof(struct arp), ND_LENGTH = ARP_LENGTH + 36 };

/* As much of a frame as says whom it concerns. */
struct head {
    struct ethernet ethernet;
    union {
        struct arp arp;
        struct {
            struct ipv6 ipv6;
            struct nd nd;
        };
    };
} PACKED __attribute__((aligned(8)));

static __always_inline void count(enum counter counter) {
    __u32 key = counter;
    __u64 *value = bpf_map_lookup_elem(&counters, &key);
    if (value) (*value)++;
}

/* A filter's verdicts. */
static __always_inline int pass(void) {
    count(FILTER_PASSED);
    return -1; /* all of it */
}

static __always_inline int refuse(enum counter why) {
    count(why);
    return 0;
}

/* How much of a bucket is spent, as the time that refills it. */
static __always_inline __u64 spent(const __u64 *full, __u64 now) {
    __u64 at = *full;
    return at > now ? at - now : 0;
}

/* Processors that spend from one bucket at the same instant may spend the same token: the limit is a rate, not a
 * ledger, and an atomic word would cost more than it is worth. */
static __always_inline int spend(__u64 *full, struct bucket bucket, __u64 now) {
    __u64 after = spent(full, now) + bucket.cost_ns;
    if (after > bucket.window_ns) return 0;
    *full = now + after;
    return 1;
}

/* Members ask to know that we live: who counted their questions would have them take us for dead. */
static __always_inline int is_member(__u64 mac) {
    return bpf_map_lookup_elem(&members, &mac) != NULL;
}

enum admission { ADMITTED, ASKER_LIMITED, ALL_LIMITED };

/* The policy of ../guard.h. Questions and answers of one MAC are two buckets; the common one is for questions only.
 * Newcomers get the first half of it and are not remembered if refused, so a flood of ever new MACs neither displaces
 * those whom we know nor spends their share. `guarded`: the asker's own bucket has been looked at already. */
static SELDOM enum admission admit(__u64 asker, enum concern concern, const struct limits *set, int guarded) {
    __u64 key = asker | (__u64)concern << 48, now = bpf_ktime_get_ns();
    if (is_member(asker)) return ADMITTED;
    __u64 *full = bpf_map_lookup_elem(&askers, &key);
    if (full && concern == CONCERN_TOLD && !spend(full, told_bucket, now)) return ASKER_LIMITED;
    if (full && concern == CONCERN_ASKED && set->asker.cost_ns && !guarded && !spend(full, set->asker, now))
        return ASKER_LIMITED;
    if (concern == CONCERN_ASKED && set->all.cost_ns) {
        struct bucket share = set->all;
        if (!full && share.window_ns / 2 >= share.cost_ns) share.window_ns /= 2;
        if (!spend(&all_askers, share, now)) return ALL_LIMITED;
    }
    if (full) return ADMITTED;
    __u64 first = now + (concern == CONCERN_TOLD ? told_bucket.cost_ns : set->asker.cost_ns);
    bpf_map_update_elem(&askers, &key, &first, BPF_ANY);
    return ADMITTED;
}

/* NULL where there is no table. */
static __always_inline const struct table *table_of(const struct place *place) {
    __u32 slot = place->slot;
    return bpf_map_lookup_elem(&tables, &slot) ? table_in(slot) : NULL;
}

/* The interface's seat; 0 if the kernel does not answer there. */
static __always_inline __u64 seat_of(__u32 ifindex) {
    __u64 seat = *(volatile __u64 *)&seats[ifindex % SEATS_MAX]; /* once: it may be exchanged meanwhile */
    return seat >> 32 == ifindex ? seat : 0;
}

/* Whether a claim to the address is ours to contest: whoever lives in a proxied prefix may say so. */
static __always_inline int contested(enum kind kind) {
    return kind == KIND_OWN || kind == KIND_TENTATIVE;
}

static __always_inline enum concern arp_concern(const struct table *table, const struct head *head) {
    enum kind target = table_find4(table, net32(load32(head->arp.tpa)));
    if (head->arp.op == net16(ARP_REQUEST) ? target != KIND_NONE : target == KIND_OWN)
        return head->arp.op == net16(ARP_REQUEST) ? CONCERN_ASKED : CONCERN_TOLD;
    return contested(table_find4(table, net32(load32(head->arp.spa)))) ? CONCERN_TOLD : CONCERN_NONE;
}

static __always_inline enum concern nd_concern(const struct table *table, const struct head *head) {
    enum kind target = table_find6(table, head->nd.target);
    if (head->nd.type == ND_SOLICIT) {
        if (target != KIND_NONE) return CONCERN_ASKED;
        return contested(table_find6(table, head->ipv6.source)) ? CONCERN_TOLD : CONCERN_NONE;
    }
    if (contested(target)) return CONCERN_TOLD;
    /* what confirms says that it was asked for */
    int solicited = (head->nd.flags & net32(ND_SOLICITED)) != 0;
    return solicited && table_find6(table, head->ipv6.destination) == KIND_OWN ? CONCERN_TOLD : CONCERN_NONE;
}

/* Neither tagged nor to or from another. A protocol-bound socket sees frames whose tag the kernel has taken off without
 * a trace but the packet type; what the kernel had no time to take off still says so itself. */
static __always_inline int stray(const struct __sk_buff *skb) {
    return skb->pkt_type >= PACKET_OTHERHOST || skb->vlan_present;
}

static __always_inline int judge(const struct place *place, const struct head *head, enum concern concern) {
    if (concern == CONCERN_NONE) return refuse(FILTER_FOREIGN);
    const struct limits *set = &limits;
    if ((set->asker.cost_ns || set->all.cost_ns) &&
        admit(mac_number(head->ethernet.source), concern, set, place->guarded) != ADMITTED)
        return refuse(FILTER_LIMITED);
    return pass();
}

SEC("socket")
int filter_arp(struct __sk_buff *skb) {
    struct head head;
    __u32 ifindex = skb->ifindex;
    if (stray(skb)) return refuse(FILTER_STRAY);
    if (bpf_skb_load_bytes(skb, 0, &head, ARP_LENGTH) || head.ethernet.type != net16(TYPE_ARP) ||
        (head.arp.op != net16(ARP_REQUEST) && head.arp.op != net16(ARP_REPLY)))
        return refuse(FILTER_MALFORMED);
    const struct place *place = bpf_map_lookup_elem(&links, &ifindex);
    const struct table *table = place ? table_of(place) : NULL;
    if (!table) return pass();
    return judge(place, &head, arp_concern(table, &head));
}

SEC("socket")
int filter_nd(struct __sk_buff *skb) {
    struct head head;
    __u32 ifindex = skb->ifindex;
    if (stray(skb)) return refuse(FILTER_STRAY);
    if (bpf_skb_load_bytes(skb, 0, &head, ND_LENGTH) || head.ethernet.type != net16(TYPE_IPV6) ||
        head.ipv6.next_header != IPPROTO_ICMP6 || (head.nd.type != ND_SOLICIT && head.nd.type != ND_ADVERTISE))
        return refuse(FILTER_MALFORMED);
    const struct place *place = bpf_map_lookup_elem(&links, &ifindex);
    const struct table *table = place ? table_of(place) : NULL;
    if (!table) return pass();
    return judge(place, &head, nd_concern(table, &head));
}

/* On to whatever else is attached, and then the stack: as if this program were not there. */
enum { GO_ON = TC_ACT_UNSPEC };

SEC("tc")
int guard(struct __sk_buff *skb) {
    struct head head;
    __u32 ifindex = skb->ifindex;
    __u8 next_header;
    int arp = skb->protocol == bpf_htons(ETH_P_ARP);
    /* all traffic comes this way: the two cheapest questions first */
    if (!arp && (skb->protocol != bpf_htons(ETH_P_IPV6) ||
                 bpf_skb_load_bytes(skb, sizeof head.ethernet + 6, &next_header, 1) || next_header != IPPROTO_ICMP6))
        return GO_ON;
    if (stray(skb) || seat_of(ifindex)) return GO_ON; /* who answers in the kernel counts there */
    const struct limits *set = &limits;
    if (!set->asker.cost_ns) return GO_ON;
    const struct place *place = bpf_map_lookup_elem(&links, &ifindex);
    const struct table *table = place ? table_of(place) : NULL;
    if (!table) return GO_ON;
    if (arp) {
        if (bpf_skb_load_bytes(skb, 0, &head, ARP_LENGTH) || head.arp.op != net16(ARP_REQUEST) ||
            !table_find4(table, net32(load32(head.arp.tpa))))
            return GO_ON;
    } else {
        if (bpf_skb_load_bytes(skb, 0, &head, ND_LENGTH) || head.nd.type != ND_SOLICIT ||
            !table_find6(table, head.nd.target))
            return GO_ON;
    }
    __u64 key = mac_number(head.ethernet.source) | (__u64)CONCERN_ASKED << 48;
    __u64 *full = bpf_map_lookup_elem(&askers, &key);
    if (!full || is_member(mac_number(head.ethernet.source)) || spend(full, set->asker, bpf_ktime_get_ns())) {
        count(GUARD_ADMITTED);
        return GO_ON;
    }
    count(GUARD_LIMITED);
    return TC_ACT_SHOT;
}

#include "answering.h"
