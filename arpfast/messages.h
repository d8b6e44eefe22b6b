/* The frames that we send of our own accord: announcements, probes, questions. Each writes at most FRAME_ROOM bytes and
 * returns how many. Addresses are as on the wire. */
#ifndef ARPFAST_MESSAGES_H
#define ARPFAST_MESSAGES_H

#include "verdict.h"

static const uint8_t MAC_BROADCAST[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t MAC_ZERO[6] = {0};

/* ARP announcement: a broadcast request in which sender and target are the address, THA zero (RFC 5227 §2.3). */
static inline uint32_t message_announce4(void *frame, const struct link *link, const uint8_t address[4]) {
    return arp_write(frame, MAC_BROADCAST, link->mac, ARP_REQUEST, link->mac, address, MAC_ZERO, address);
}

/* ARP probe: a broadcast request from 0.0.0.0 (RFC 5227 §2.1.1). */
static inline uint32_t message_probe4(void *frame, const struct link *link, const uint8_t address[4]) {
    static const uint8_t nobody[4] = {0};
    return arp_write(frame, MAC_BROADCAST, link->mac, ARP_REQUEST, link->mac, nobody, MAC_ZERO, address);
}

/* An ordinary broadcast request of `address` for `target`. */
static inline uint32_t message_ask4(void *frame, const struct link *link, const uint8_t address[4],
                                    const uint8_t target[4]) {
    return arp_write(frame, MAC_BROADCAST, link->mac, ARP_REQUEST, link->mac, address, MAC_ZERO, target);
}

/* Unsolicited advertisement to all nodes with the override flag (RFC 4861 §7.2.6). */
static inline uint32_t message_announce6(void *frame, const struct link *link, const uint8_t address[16]) {
    uint8_t group[16], mac[6];
    ip6_all_nodes(group);
    mac_of_group(mac, group);
    uint32_t flags = ND_OVERRIDE | (link->router ? ND_ROUTER : 0);
    return nd_write(frame, mac, link->mac, address, group, ND_ADVERTISE, flags, address, ND_OPTION_TARGET, link->mac);
}

/* Duplicate address detection (RFC 4862 §5.4.2) with the interface's nonce (RFC 7527), if it has one. */
static inline uint32_t message_probe6(void *frame, const struct link *link, const uint8_t address[16]) {
    static const uint8_t nobody[16] = {0};
    uint8_t group[16], mac[6];
    ip6_solicited_node(group, address);
    mac_of_group(mac, group);
    uint8_t option = mac_number(link->nonce) ? ND_OPTION_NONCE : 0;
    return nd_write(frame, mac, link->mac, nobody, group, ND_SOLICIT, 0, address, option, link->nonce);
}

/* A solicitation of `address` for `target`, to the target's group, with our hardware address (RFC 4861 §7.2.2). */
static inline uint32_t message_ask6(void *frame, const struct link *link, const uint8_t address[16],
                                    const uint8_t target[16]) {
    uint8_t group[16], mac[6];
    ip6_solicited_node(group, target);
    mac_of_group(mac, group);
    return nd_write(frame, mac, link->mac, address, group, ND_SOLICIT, 0, target, ND_OPTION_SOURCE, link->mac);
}

/* An announcement for one neighbour alone. The request that it is for ARP names the neighbour's own address, for then
 * it learns us whatever it makes of gratuitous ARP, and answers, which confirms. */
static inline uint32_t message_tell4(void *frame, const struct link *link, const uint8_t address[4],
                                     const uint8_t mac[6], const uint8_t target[4]) {
    return arp_write(frame, mac, link->mac, ARP_REQUEST, link->mac, address, MAC_ZERO, target);
}

/* Unsolicited advertisement to one neighbour, with the override flag. */
static inline uint32_t message_tell6(void *frame, const struct link *link, const uint8_t address[16],
                                     const uint8_t mac[6], const uint8_t target[16]) {
    uint32_t flags = ND_OVERRIDE | (link->router ? ND_ROUTER : 0);
    return nd_write(frame, mac, link->mac, address, target, ND_ADVERTISE, flags, address, ND_OPTION_TARGET, link->mac);
}

/* An ARP probe that only one host hears: whether it still answers for its address (succession.h). */
static inline uint32_t message_watch4(void *frame, const struct link *link, const uint8_t mac[6],
                                      const uint8_t address[4]) {
    static const uint8_t nobody[4] = {0};
    return arp_write(frame, mac, link->mac, ARP_REQUEST, link->mac, nobody, MAC_ZERO, address);
}

/* The same by the solicitation of neighbour unreachability detection (RFC 4861 §7.3.3), from our link-local address. */
static inline uint32_t message_watch6(void *frame, const struct link *link, const uint8_t mac[6],
                                      const uint8_t address[16]) {
    return nd_write(frame, mac, link->mac, link->link_local, address, ND_SOLICIT, 0, address, ND_OPTION_SOURCE,
                    link->mac);
}

#endif
