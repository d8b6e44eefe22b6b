/* What can become of a frame, and what the answer needs to know of the interface that it came in by. */
#ifndef ARPFAST_VERDICT_H
#define ARPFAST_VERDICT_H

#include "members.h"

/* Every verdict, with what it means: the one list from which the enum, Python's enum, the metrics and the documents
 * take their names. The first seven are about addresses of ours; a verdict that does not say so stays silent. */
#define VERDICTS(X)                                                                                                    \
    X(REPLY, "asked for an address of ours: answered")                                                                 \
    X(CONFLICT, "somebody else uses an address of ours")                                                               \
    X(TAKEN, "somebody else uses, or probes for, an address that we probe for")                                        \
    X(RIVAL, "another member of our ring uses, or probes for, an address of ours")                                     \
    X(CONFIRMED, "a neighbour answered what we asked from an address of ours")                                         \
    X(LOOPED, "our own frame, or one of our other interfaces', came back")                                             \
    X(TENTATIVE, "asked for an address that we still probe for: silent")                                               \
    X(NOT_OURS, "about an address that is not ours")                                                                   \
    X(NOT_FOR_US, "sent to the hardware address of another host")                                                      \
    X(NOT_REQUEST, "about an address of ours, but no question")                                                        \
    X(PROXY_PROBE, "a probe for, or announcement of, a proxied address: free for others to take")                      \
    X(OTHER_PROTOCOL, "neither ARP nor IPv6")                                                                          \
    X(TAGGED, "of another VLAN")                                                                                       \
    X(SHORT, "ends before its headers say")                                                                            \
    X(NOT_ARP, "ARP, but not for IPv4 over Ethernet")                                                                  \
    X(NOT_ND, "IPv6, but no Neighbor Solicitation or Advertisement right behind its header")                           \
    X(BAD_HOP_LIMIT, "a hop limit other than 255: it came through a router")                                           \
    X(BAD_CODE, "an ICMPv6 code other than 0")                                                                         \
    X(BAD_LENGTH, "an ICMPv6 length below 24")                                                                         \
    X(BAD_CHECKSUM, "an ICMPv6 checksum that does not hold")                                                           \
    X(BAD_OPTION, "an option of length 0, that does not fit, or no Ethernet address")                                  \
    X(MANY_OPTIONS, "more options than any sender has use for")                                                        \
    X(BAD_SENDER, "from an address that no host can have")                                                             \
    X(BAD_TARGET, "about an address that no host can have")                                                            \
    X(BAD_DESTINATION, "a solicitation sent to another address, or a duplicate address detection to no such group")    \
    X(UNEXPECTED_SOURCE_OPTION, "a duplicate address detection with a source link-layer address")                      \
    X(BAD_SOLICITED_FLAG, "a solicited advertisement sent to a group")                                                 \
    X(NO_ROOM, "no room for the reply")                                                                                \
    X(LIMITED, "would be answered, but its sender, or all together, asked too often")                                  \
    X(FROZEN, "would be answered, but we stood still, and others may answer by now")

#define VERDICT_NAME(name, meaning) VERDICT_##name,
enum verdict { VERDICTS(VERDICT_NAME) VERDICT_COUNT };
#undef VERDICT_NAME

enum { LINK_KIN = 32 };

/* One interface of ours. Read-only to answer(). */
struct link {
    uint8_t mac[6];           /* its hardware address */
    uint8_t router;           /* whether this host forwards IPv6: the R flag */
    uint8_t kin_count;        /* at most LINK_KIN */
    uint8_t kin[LINK_KIN][6]; /* hardware addresses of our other interfaces: never a conflict */
    uint8_t link_local[16];   /* source of advertisements for proxied addresses */
    uint8_t has_link_local;
    const struct members *members; /* NULL: we are in no ring */
    uint8_t nonce[6];              /* of our own duplicate address detection (RFC 7527); all zero is none */
};

static inline int link_is_own(const struct link *link, const uint8_t mac[6]) {
    return mac_number(mac) == mac_number(link->mac);
}

static SELDOM int link_has(const struct link *link, uint64_t number) {
    if (number == mac_number(link->mac)) return 1;
    UNROLLED
    for (uint32_t i = 0; i < LINK_KIN; i++) {
        STEP;
        if (i >= link->kin_count) break;
        if (number == mac_number(link->kin[i])) return 1;
    }
    return 0;
}

/* Whether a hardware address is of this host: then what it claims is no conflict. */
static inline int link_is_kin(const struct link *link, const uint8_t mac[6]) {
    return link_has(link, mac_number(mac));
}

/* Whether a hardware address is of another host of our ring. */
static inline int link_is_member(const struct link *link, const uint8_t mac[6]) {
    return members_have(link->members, mac);
}

/* What a claim by `mac` means to an address of this kind, own or tentative. */
static inline enum verdict link_claim(const struct link *link, const uint8_t mac[6], int own) {
    if (link_is_kin(link, mac)) return VERDICT_LOOPED;
    if (link_is_member(link, mac)) return VERDICT_RIVAL;
    return own ? VERDICT_CONFLICT : VERDICT_TAKEN;
}

/* What was learnt from a frame beside the verdict. */
struct outcome {
    uint16_t reply_length; /* of the frame written over the request; 0 unless REPLY */
    uint8_t version;       /* 4 or 6; 0 if the frame was refused before that was known */
    uint8_t kind;          /* of the address, where the verdict is REPLY: `enum kind` */
    uint8_t mac[6];        /* who sent it, by its own word: SHA, or the link-layer address option */
    uint8_t address[16];   /* ours, that it is about; IPv4 in the first 4 bytes */
};

#endif
