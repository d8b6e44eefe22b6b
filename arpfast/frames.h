/* The bytes: Ethernet II, ARP (RFC 826), IPv6 (RFC 8200) with Neighbor Discovery (RFC 4861), as they lie on the wire.
 *
 * Field names are the RFCs'. Every struct is packed and its size asserted, so a pointer into a frame may be read
 * through them at any alignment once its length has been checked. Multi-byte fields are in network order: net16() and
 * net32() turn them. Nothing here allocates, loops without a bound, or needs more than a C compiler: the BPF compiler
 * takes it as it is. */
#ifndef ARPFAST_FRAMES_H
#define ARPFAST_FRAMES_H

#include <stdint.h>

#define PACKED __attribute__((packed))

/* The kernel's verifier, without CAP_PERFMON, follows a loop's counter beyond its end, as a processor might that
 * guesses wrong, and gives up; a loop without a counter it takes. For the same reason no search below compares what it
 * searched by once it is over: each step would be followed for its own sake. And it knows no function of more than five
 * arguments: whether one is inlined must not be left to the compiler's version. */
#ifdef __bpf__
#define UNROLLED _Pragma("clang loop unroll(full)")
#define STEP     __asm__ volatile("") /* or the compiler makes one condition of two, and cannot unroll */
#define INLINED  __attribute__((always_inline))
#else
#define UNROLLED
#define INLINED
#define STEP (void)0
#endif

/* What is long and hardly ever asked. In the kernel everything else is inlined, and this would fill the cache. */
#ifdef __bpf__
#define SELDOM __attribute__((noinline))
#else
#define SELDOM inline
#endif

/* In the kernel a frame lies as IP has it, two bytes before a multiple of eight; a compiler that is not told so takes
 * words of it byte by byte. Everywhere else it may lie as it likes. */
#ifdef __bpf__
#define ALIGNED(frame) __builtin_assume_aligned(frame, 8, 6)
#else
#define ALIGNED(frame) (frame)
#endif

enum { TYPE_ARP = 0x0806, TYPE_IPV6 = 0x86dd, TYPE_VLAN = 0x8100, TYPE_SERVICE_VLAN = 0x88a8 };
enum { ARP_REQUEST = 1, ARP_REPLY = 2, ARP_ETHERNET = 1, ARP_IPV4 = 0x0800 };
enum { IPPROTO_ICMP6 = 58, ND_SOLICIT = 135, ND_ADVERTISE = 136, ND_HOP_LIMIT = 255 };
enum { ND_OPTION_SOURCE = 1, ND_OPTION_TARGET = 2, ND_OPTION_NONCE = 14 };

/* The flags of an advertisement (RFC 4861 §4.4), the word's host order. */
#define ND_ROUTER    0x80000000u
#define ND_SOLICITED 0x40000000u
#define ND_OVERRIDE  0x20000000u

struct ethernet {
    uint8_t destination[6], source[6];
    uint16_t type;
} PACKED;

struct arp {
    uint16_t hrd, pro;
    uint8_t hln, pln;
    uint16_t op;
    uint8_t sha[6], spa[4], tha[6], tpa[4];
} PACKED;

struct ipv6 {
    uint32_t version_class_flow;
    uint16_t payload_length;
    uint8_t next_header, hop_limit, source[16], destination[16];
} PACKED;

/* Solicitation and advertisement have one layout; `flags` is reserved in the former. */
struct nd {
    uint8_t type, code;
    uint16_t checksum;
    uint32_t flags;
    uint8_t target[16];
} PACKED;

/* A link-layer address or a nonce of six bytes: what is sent, and the least that any option takes. */
struct nd_option {
    uint8_t type, length, value[6];
} PACKED;

/* What we send: ARP padded to the least that Ethernet carries, Neighbor Discovery with one option. */
struct arp_frame {
    struct ethernet ethernet;
    struct arp arp;
    uint8_t padding[18];
} PACKED;

struct nd_frame {
    struct ethernet ethernet;
    struct ipv6 ipv6;
    struct nd nd;
    struct nd_option option;
} PACKED;

_Static_assert(sizeof(struct ethernet) == 14, "Ethernet II header");
_Static_assert(sizeof(struct arp) == 28, "ARP for IPv4 over Ethernet");
_Static_assert(sizeof(struct ipv6) == 40, "IPv6 header");
_Static_assert(sizeof(struct nd) == 24, "Neighbor Solicitation and Advertisement without options");
_Static_assert(sizeof(struct nd_option) == 8, "one unit of option");
_Static_assert(sizeof(struct arp_frame) == 60, "64 bytes with the FCS");
_Static_assert(sizeof(struct nd_frame) == 86, "Neighbor Discovery with one option");

/* Of how many units of eight bytes a message may be. In the kernel every place in a frame is a constant: there, who has
 * a longer one at hand must not ask. */
#ifdef __bpf__
enum { ND_UNITS = 7 };
#else
enum { ND_UNITS = 0x10000 / 8 };
#endif

/* Room that every frame of ours fits in. */
enum { FRAME_ROOM = sizeof(struct nd_frame) };

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline uint16_t net16(uint16_t value) {
    return __builtin_bswap16(value);
}
static inline uint32_t net32(uint32_t value) {
    return __builtin_bswap32(value);
}
static inline uint64_t net64(uint64_t value) {
    return __builtin_bswap64(value);
}
#else
static inline uint16_t net16(uint16_t value) {
    return value;
}
static inline uint32_t net32(uint32_t value) {
    return value;
}
static inline uint64_t net64(uint64_t value) {
    return value;
}
#endif

/* Reads at any alignment, as memory has it. */
static inline uint16_t load16(const void *at) {
    uint16_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t load32(const void *at) {
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t load64(const void *at) {
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

/* A hardware address as one number, to be compared and hashed; 0 is no address. Only equality means anything. */
static inline uint64_t mac_number(const uint8_t mac[6]) {
    return load32(mac) | (uint64_t)load16(mac + 4) << 32;
}

static inline int mac_is_group(const uint8_t mac[6]) {
    return mac[0] & 1;
}

/* Whether a host can have it: neither a group nor zero (IEEE 802). */
static inline int mac_is_unicast(const uint8_t mac[6]) {
    return !mac_is_group(mac) && mac_number(mac) != 0;
}

static inline int ip6_equal(const uint8_t a[16], const uint8_t b[16]) {
    return ((load64(a) ^ load64(b)) | (load64(a + 8) ^ load64(b + 8))) == 0;
}

static inline int ip6_is_unspecified(const uint8_t address[16]) {
    return (load64(address) | load64(address + 8)) == 0;
}

static inline int ip6_is_loopback(const uint8_t address[16]) {
    return load64(address) == 0 && net64(load64(address + 8)) == 1;
}

static inline int ip6_is_multicast(const uint8_t address[16]) {
    return address[0] == 0xff;
}

/* ff02::/16: a group of the link (RFC 4291 §2.7). */
static inline int ip6_is_link_group(const uint8_t address[16]) {
    return load16(address) == net16(0xff02);
}

/* ::ffff:0:0/96: an IPv4 address in the clothes of IPv6, which is for programs, not for the wire (RFC 4942 §2.2). */
static inline int ip6_is_mapped(const uint8_t address[16]) {
    return load64(address) == 0 && load32(address + 8) == net32(0xffff);
}

/* ff02::1:ff00:0/104 (RFC 4291 §2.7.1). */
static inline int ip6_is_solicited_node(const uint8_t address[16]) {
    return net64(load64(address)) == 0xff02000000000000u && net64(load64(address + 8)) >> 24 == 0x1ff;
}

static inline void ip6_solicited_node(uint8_t group[16], const uint8_t address[16]) {
    static const uint8_t prefix[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff};
    __builtin_memcpy(group, prefix, sizeof prefix);
    __builtin_memcpy(group + 13, address + 13, 3);
}

/* ff02::1. */
static inline void ip6_all_nodes(uint8_t group[16]) {
    uint64_t high = net64(0xff02000000000000u), low = net64(1);
    __builtin_memcpy(group, &high, 8);
    __builtin_memcpy(group + 8, &low, 8);
}

/* The Ethernet group of an IPv6 group: 33:33 and its last four bytes (RFC 2464 §7). */
static inline void mac_of_group(uint8_t mac[6], const uint8_t group[16]) {
    mac[0] = mac[1] = 0x33;
    __builtin_memcpy(mac + 2, group + 12, 4);
}

/* Adds eight bytes, in memory order, to a one's complement sum; 2^31 additions before it could overflow. */
static inline uint64_t sum_add(uint64_t sum, uint64_t word) {
    return sum + (word & 0xffffffff) + (word >> 32);
}

static inline uint16_t sum_fold(uint64_t sum) {
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)((sum >> 16) + (sum & 0xffff));
}

/* One's complement sum (RFC 1071) of an ICMPv6 message of `units` times eight bytes with its pseudo-header (RFC 8200
 * §8.1), in memory order: 0xffff over a message whose checksum holds. The caller has checked that the bytes are there.
 */
static inline uint16_t nd_sum(const struct ipv6 *ipv6, const void *message, uint32_t units) {
    const uint8_t *start = ALIGNED((const uint8_t *)ipv6 - sizeof(struct ethernet));
    const uint8_t *at = message, *addresses = start + 22; /* source, and destination behind it */
#ifdef __bpf__
    at = start + sizeof(struct ethernet) + sizeof(struct ipv6); /* where it is in a frame, which is all that is asked */
#endif
    uint64_t sum = (uint64_t)net32(units * 8) + net32(IPPROTO_ICMP6);
    for (uint32_t i = 0; i < 4; i++) sum = sum_add(sum, load64(addresses + 8 * i));
    UNROLLED
    for (uint32_t i = 0; i < ND_UNITS; i++) {
        STEP;
        if (i >= units) break;
        sum = sum_add(sum, load64(at + 8 * i));
    }
    return sum_fold(sum);
}

/* Writes an ARP message for IPv4 over Ethernet, padded with zeros; returns its length. No argument may lie in the
 * frame. */
INLINED static inline uint32_t arp_write(void *frame, const uint8_t destination[6], const uint8_t source[6],
                                         uint16_t op, const uint8_t sha[6], const uint8_t spa[4], const uint8_t tha[6],
                                         const uint8_t tpa[4]) {
    struct arp_frame *out = frame;
    __builtin_memcpy(out->ethernet.destination, destination, 6);
    __builtin_memcpy(out->ethernet.source, source, 6);
    out->ethernet.type = net16(TYPE_ARP);
    out->arp.hrd = net16(ARP_ETHERNET);
    out->arp.pro = net16(ARP_IPV4);
    out->arp.hln = 6;
    out->arp.pln = 4;
    out->arp.op = net16(op);
    __builtin_memcpy(out->arp.sha, sha, 6);
    __builtin_memcpy(out->arp.spa, spa, 4);
    __builtin_memcpy(out->arp.tha, tha, 6);
    __builtin_memcpy(out->arp.tpa, tpa, 4);
    __builtin_memset(out->padding, 0, sizeof out->padding);
    return sizeof *out;
}

/* Writes a solicitation or advertisement (`type`, `flags` in host order) with one option, or none if `option` is 0;
 * returns its length. No argument may lie in the frame, but for those of an answer written over its question:
 * `destination` where the source is, `source` and `target` where the target is. The sum is made of what is at hand: to
 * read back bytes just written in other portions costs more than all the rest. */
INLINED static inline uint32_t nd_write(void *frame, const uint8_t destination_mac[6], const uint8_t source_mac[6],
                                        const uint8_t source[16], const uint8_t destination[16], uint8_t type,
                                        uint32_t flags, const uint8_t target[16], uint8_t option,
                                        const uint8_t value[6]) {
    struct nd_frame *out = frame;
    uint32_t units = option ? 4 : 3;
    __builtin_memcpy(out->ethernet.destination, destination_mac, 6);
    __builtin_memcpy(out->ethernet.source, source_mac, 6);
    out->ethernet.type = net16(TYPE_IPV6);
    out->ipv6.version_class_flow = net32(6u << 28);
    out->ipv6.payload_length = net16((uint16_t)(units * 8));
    out->ipv6.next_header = IPPROTO_ICMP6;
    out->ipv6.hop_limit = ND_HOP_LIMIT;
    uint64_t sum = (uint64_t)net32(units * 8) + net32(IPPROTO_ICMP6) + net32((uint32_t)type << 24) + net32(flags);
    for (uint32_t half = 0; half < 16; half += 8) {
        uint64_t from = load64(source + half), to = load64(destination + half), about = load64(target + half);
        __builtin_memcpy(out->ipv6.source + half, &from, 8);
        __builtin_memcpy(out->ipv6.destination + half, &to, 8);
        __builtin_memcpy(out->nd.target + half, &about, 8);
        sum = sum_add(sum_add(sum_add(sum, from), to), about);
    }
    if (option) {
        uint64_t word = net64((uint64_t)option << 56 | 1ull << 48 | (uint64_t)net16(load16(value)) << 32 |
                              net32(load32(value + 2)));
        __builtin_memcpy(&out->option, &word, 8);
        sum = sum_add(sum, word);
    }
    out->nd.type = type;
    out->nd.code = 0;
    out->nd.checksum = (uint16_t)~sum_fold(sum);
    out->nd.flags = net32(flags);
    return (uint32_t)sizeof(struct ethernet) + (uint32_t)sizeof(struct ipv6) + units * 8;
}

#endif
