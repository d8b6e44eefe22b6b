/* ARP: RFC 826's reception, with the conflict rules of RFC 5227 where an address of ours is concerned. */
#ifndef ARPFAST_ARP_H
#define ARPFAST_ARP_H

#include "table.h"
#include "verdict.h"

/* Addresses that belong to no one host: 0.0.0.0, 127/8, 224/4 and the limited broadcast. */
static inline int arp_is_host(uint32_t address) {
    return address != 0 && address >> 24 != 127 && address >> 28 != 0xe && address != 0xffffffff;
}

/* What a sender's claim to have `spa` means: no verdict (VERDICT_COUNT) if that is not ours to contest. */
static inline enum verdict arp_claim(enum kind kind, const struct link *link, const uint8_t sha[6]) {
    if (kind != KIND_OWN && kind != KIND_TENTATIVE) return VERDICT_COUNT;
    return link_claim(link, sha, kind == KIND_OWN);
}

/* Writes the reply to a request, over it or elsewhere: to the requester's hardware address, on the same hardware (RFC
 * 826). */
static inline uint32_t arp_reply(const struct link *link, const uint8_t *asked, uint8_t *reply) {
    const struct arp *arp = (const struct arp *)(asked + sizeof(struct ethernet));
    uint8_t asker[6], asker_address[4], target[4];
    __builtin_memcpy(asker, arp->sha, 6);
    __builtin_memcpy(asker_address, arp->spa, 4);
    __builtin_memcpy(target, arp->tpa, 4);
    return arp_write(reply, asker, link->mac, ARP_REPLY, link->mac, target, asker, asker_address);
}

/* A frame of type ARP that is meant for us or for a group. */
static inline enum verdict judge_arp(const struct table *table, const struct link *link, const uint8_t *frame,
                                     uint32_t length, struct outcome *outcome) {
    if (length < sizeof(struct ethernet) + sizeof(struct arp)) return VERDICT_SHORT;
    const struct arp *arp = (const struct arp *)(frame + sizeof(struct ethernet));
    if (arp->hrd != net16(ARP_ETHERNET) || arp->pro != net16(ARP_IPV4) || arp->hln != 6 || arp->pln != 4)
        return VERDICT_NOT_ARP;
    outcome->version = 4;
    __builtin_memcpy(outcome->mac, arp->sha, 6);
    uint32_t spa = net32(load32(arp->spa)), tpa = net32(load32(arp->tpa));
    uint16_t op = net16(arp->op);
    if (link_is_own(link, arp->sha)) return VERDICT_LOOPED;
    if (!mac_is_unicast(arp->sha) || (spa != 0 && !arp_is_host(spa))) return VERDICT_BAD_SENDER;

    /* RFC 826: the sender's claim is looked at before the target, RFC 5227 §2.4: in request and reply alike. */
    if (spa != 0 && (op == ARP_REQUEST || op == ARP_REPLY)) {
        enum verdict claim = arp_claim(table_find4(table, spa), link, arp->sha);
        if (claim != VERDICT_COUNT) {
            __builtin_memcpy(outcome->address, arp->spa, 4);
            return claim;
        }
    }
    if (!arp_is_host(tpa)) return VERDICT_BAD_TARGET;
    enum kind kind = table_find4(table, tpa);
    if (kind == KIND_NONE) return VERDICT_NOT_OURS;
    __builtin_memcpy(outcome->address, arp->tpa, 4);
    if (op == ARP_REPLY && kind == KIND_OWN && spa != 0 && link_is_own(link, frame)) return VERDICT_CONFIRMED;
    if (op != ARP_REQUEST) return VERDICT_NOT_REQUEST;
    if (spa == 0 && kind != KIND_PROXY && link_is_kin(link, arp->sha)) return VERDICT_LOOPED;
    if (kind == KIND_TENTATIVE) {
        /* RFC 5227 §2.1.1: two hosts that probe for one address at a time have both lost it. What is not broadcast is
         * no such probe: it is asked of whom the asker takes for the owner, as by a member that watches us, and whose
         * hardware address we may not know yet. */
        if (spa != 0 || !mac_is_group(frame)) return VERDICT_TENTATIVE;
        return link_claim(link, arp->sha, 0);
    }
    if (kind == KIND_PROXY && (spa == 0 || spa == tpa)) return VERDICT_PROXY_PROBE;
    outcome->kind = kind;
    return VERDICT_REPLY;
}

#endif
