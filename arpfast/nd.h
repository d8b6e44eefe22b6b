/* Neighbor Discovery: validation by RFC 4861 §7.1, answers by §7.2, duplicates by RFC 4862 §5.4 and RFC 7527. */
#ifndef ARPFAST_ND_H
#define ARPFAST_ND_H

#include "table.h"
#include "verdict.h"

/* An Ethernet frame of 1500 bytes carries fewer; only a jumbo frame made to tire us carries more. */
enum { ND_OPTIONS = 190 };

/* What the options of a message say: each is 0, or its value as mac_number() has it, with ND_GIVEN. The first of a kind
 * counts. `address` is the sender's: the source option of a solicitation, the target option of an advertisement; the
 * other one is ignored whatever it says, as are all that the message is not known for (RFC 4861 §7.1). */
struct nd_options {
    uint64_t address, nonce;
};

#define ND_GIVEN (1ull << 48)

enum { ND_AT = sizeof(struct ethernet) + sizeof(struct ipv6), ND_OPTIONS_AT = ND_AT + sizeof(struct nd) };

/* Addresses that belong to no one host. The unspecified one is left out: as a source it has a meaning. */
static inline int nd_is_host(const uint8_t address[16]) {
    return !ip6_is_multicast(address) && !ip6_is_loopback(address) && !ip6_is_mapped(address);
}

/* Reads the option in front of which `left` units are left, itself included: its length in units, or 0 if it is none.
 */
static inline uint32_t nd_read_option(const struct nd_option *option, uint32_t left, uint8_t sender,
                                      struct nd_options *options) {
    if (option->length == 0 || option->length > left) return 0;
    if (option->type == sender) {
        if (option->length != 1) return 0; /* RFC 2464 §6 */
        if (!options->address) options->address = mac_number(option->value) | ND_GIVEN;
    }
    if (option->type == ND_OPTION_NONCE && option->length == 1 && !options->nonce)
        options->nonce = mac_number(option->value) | ND_GIVEN;
    return option->length;
}

/* Reads `units` times eight bytes of options. VERDICT_COUNT if they are all valid. */
static inline enum verdict nd_read_options(const uint8_t *frame, uint32_t units, struct nd_options *options) {
    uint8_t sender = frame[ND_AT] == ND_SOLICIT ? ND_OPTION_SOURCE : ND_OPTION_TARGET;
    const struct nd_option *at = (const struct nd_option *)((const uint8_t *)ALIGNED(frame) + ND_OPTIONS_AT);
    uint32_t unit = 0;
#ifdef __bpf__
    UNROLLED
    for (uint32_t i = 0; i < ND_UNITS - 3; i++) {
        STEP;
        if (i >= units) break;
        if (i != unit) continue;
        uint32_t length = nd_read_option(at + i, units - i, sender, options);
        if (!length) return VERDICT_BAD_OPTION;
        unit += length;
    }
#else
    for (uint32_t i = 0; i < ND_OPTIONS && unit < units; i++) {
        uint32_t length = nd_read_option(at + unit, units - unit, sender, options);
        if (!length) return VERDICT_BAD_OPTION;
        unit += length;
    }
#endif
    return unit < units ? VERDICT_MANY_OPTIONS : VERDICT_COUNT;
}

/* The sender's hardware address: the option's, or else the frame's own. */
static inline void nd_sender(uint8_t mac[6], const uint8_t *frame, const struct nd_options *options) {
    uint64_t number = options->address ? options->address : mac_number(((const struct ethernet *)frame)->source);
    uint32_t first = (uint32_t)number;
    uint16_t last = (uint16_t)(number >> 32);
    __builtin_memcpy(mac, &first, 4);
    __builtin_memcpy(mac + 4, &last, 2);
}

/* What a claim to have an address of ours means: VERDICT_COUNT if it is not ours to contest. */
static inline enum verdict nd_claim(enum kind kind, const struct link *link, const uint8_t mac[6]) {
    if (kind != KIND_OWN && kind != KIND_TENTATIVE) return VERDICT_COUNT;
    return link_claim(link, mac, kind == KIND_OWN);
}

/* Writes the advertisement that a solicitation asks for (RFC 4861 §7.2.4), over it or elsewhere. */
static inline uint32_t nd_reply(const struct link *link, const uint8_t *frame, uint8_t *reply,
                                const uint8_t asker_mac[6], enum kind kind) {
    const struct nd_frame *asked = ALIGNED((const struct nd_frame *)frame);
    uint8_t mac[6], all_nodes[16];
    uint32_t flags = (link->router ? ND_ROUTER : 0) | (kind == KIND_OWN ? ND_OVERRIDE : 0);
    const uint8_t *target = asked->nd.target, *destination = asked->ipv6.source;
    const uint8_t *source = kind == KIND_PROXY && link->has_link_local ? link->link_local : target;
    if (ip6_is_unspecified(asked->ipv6.source)) {
        ip6_all_nodes(all_nodes);
        mac_of_group(mac, all_nodes);
        destination = all_nodes;
    } else {
        flags |= ND_SOLICITED;
        __builtin_memcpy(mac, asker_mac, 6);
    }
    return nd_write(reply, mac, link->mac, source, destination, ND_ADVERTISE, flags, target, ND_OPTION_TARGET,
                    link->mac);
}

static inline int nd_is_own_nonce(const struct link *link, uint64_t nonce) {
    uint64_t own = mac_number(link->nonce);
    return own && nonce == (own | ND_GIVEN);
}

static inline enum verdict nd_solicited(const struct table *table, const struct link *link, const uint8_t *frame,
                                        const struct nd_options *options, struct outcome *outcome) {
    const struct nd_frame *asked = ALIGNED((const struct nd_frame *)frame);
    uint8_t *mac = outcome->mac;
    int detection = ip6_is_unspecified(asked->ipv6.source);
    /* RFC 4861 §4.3: to the target or its group. IP would not even have handed up what was sent to another host. */
    if (detection
            ? !ip6_is_solicited_node(asked->ipv6.destination)
            : !ip6_is_link_group(asked->ipv6.destination) && !ip6_equal(asked->ipv6.destination, asked->nd.target))
        return VERDICT_BAD_DESTINATION;
    if (detection && options->address) return VERDICT_UNEXPECTED_SOURCE_OPTION;
    nd_sender(mac, frame, options);
    if (link_is_own(link, asked->ethernet.source) || link_is_own(link, mac)) return VERDICT_LOOPED;
    if (!mac_is_unicast(mac)) return VERDICT_BAD_SENDER;

    if (!detection) {
        enum verdict claim = nd_claim(table_find6(table, asked->ipv6.source), link, mac);
        if (claim != VERDICT_COUNT) {
            __builtin_memcpy(outcome->address, asked->ipv6.source, 16);
            return claim;
        }
    }
    enum kind kind = table_find6(table, asked->nd.target);
    if (kind == KIND_NONE) return VERDICT_NOT_OURS;
    __builtin_memcpy(outcome->address, asked->nd.target, 16);
    /* RFC 7527 §4.2: our own solicitation, back through a loop that may even have changed its Ethernet source. */
    if (detection && (nd_is_own_nonce(link, options->nonce) || link_is_kin(link, mac))) return VERDICT_LOOPED;
    if (kind == KIND_TENTATIVE) return detection ? link_claim(link, mac, 0) : VERDICT_TENTATIVE;
    outcome->kind = kind;
    return VERDICT_REPLY;
}

static inline enum verdict nd_advertised(const struct table *table, const struct link *link, const uint8_t *frame,
                                         const struct nd_options *options, struct outcome *outcome) {
    const struct nd_frame *told = (const struct nd_frame *)frame;
    uint8_t *mac = outcome->mac;
    int solicited = (told->nd.flags & net32(ND_SOLICITED)) != 0;
    if (solicited && ip6_is_multicast(told->ipv6.destination)) return VERDICT_BAD_SOLICITED_FLAG;
    nd_sender(mac, frame, options);
    if (link_is_own(link, told->ethernet.source) || link_is_own(link, mac)) return VERDICT_LOOPED;
    if (!mac_is_unicast(mac)) return VERDICT_BAD_SENDER;
    enum kind kind = table_find6(table, told->nd.target);
    enum verdict claim = nd_claim(kind, link, mac);
    if (kind != KIND_NONE) __builtin_memcpy(outcome->address, told->nd.target, 16);
    if (claim != VERDICT_COUNT) return claim;
    if (solicited && table_find6(table, told->ipv6.destination) == KIND_OWN) {
        __builtin_memcpy(outcome->address, told->ipv6.destination, 16);
        return VERDICT_CONFIRMED;
    }
    return kind == KIND_NONE ? VERDICT_NOT_OURS : VERDICT_NOT_REQUEST;
}

/* A frame of type IPv6 that is meant for us or for a group. The validation is RFC 4861 §7.1.1 and §7.1.2, the cheap
 * rules first; what is valid in both is told apart last. */
static inline enum verdict judge_nd(const struct table *table, const struct link *link, const uint8_t *frame,
                                    uint32_t length, struct outcome *outcome) {
    if (length < ND_AT) return VERDICT_SHORT;
    const struct nd_frame *in = (const struct nd_frame *)frame;
    if ((in->ipv6.version_class_flow & net32(0xf0000000)) != net32(6u << 28)) return VERDICT_NOT_ND;
    if (in->ipv6.next_header != IPPROTO_ICMP6) return VERDICT_NOT_ND;
    uint32_t payload = net16(in->ipv6.payload_length); /* the frame may be padded beyond it */
    if (payload == 0 || length == ND_AT) return payload ? VERDICT_SHORT : VERDICT_NOT_ND;
    if (in->nd.type != ND_SOLICIT && in->nd.type != ND_ADVERTISE) return VERDICT_NOT_ND;
    outcome->version = 6;
    if (payload > length - ND_AT) return VERDICT_SHORT;
    if (in->ipv6.hop_limit != ND_HOP_LIMIT) return VERDICT_BAD_HOP_LIMIT;
    if (payload < sizeof(struct nd)) return VERDICT_BAD_LENGTH;
    if (in->nd.code != 0) return VERDICT_BAD_CODE;
    if (payload % 8 != 0) return VERDICT_BAD_OPTION;
    struct nd_options options = {0, 0};
    enum verdict refused = nd_read_options(frame, payload / 8 - 3, &options);
    if (refused != VERDICT_COUNT) return refused;
    if (nd_sum(&in->ipv6, &in->nd, payload / 8) != 0xffff) return VERDICT_BAD_CHECKSUM;
    if (!nd_is_host(in->ipv6.source)) return VERDICT_BAD_SENDER;
    if (!nd_is_host(in->nd.target) || ip6_is_unspecified(in->nd.target)) return VERDICT_BAD_TARGET;
    return in->nd.type == ND_SOLICIT ? nd_solicited(table, link, frame, &options, outcome)
                                     : nd_advertised(table, link, frame, &options, outcome);
}

#endif
