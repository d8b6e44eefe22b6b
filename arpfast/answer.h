/* Frame in, verdict out, the reply written over the request.
 *
 * A pure function of the frame, the table and the interface: no syscalls, no memory of its own, no locks; its loops are
 * bounded. The very same code runs in the responder's thread, in the kernel as BPF, and in the fuzzer. It reads no byte
 * at or beyond `length` and writes none at or beyond `capacity`, and only where the verdict is REPLY.
 *
 * `frame` begins with the Ethernet header and carries no VLAN tag: of a tagged network the kernel may have removed the
 * tag, so whoever receives must have seen to it that none was there; one that is still there is refused. */
#ifndef ARPFAST_ANSWER_H
#define ARPFAST_ANSWER_H

#include "arp.h"
#include "nd.h"

/* Whether a frame's hardware address is ours or a group's. */
static inline int is_for_us(const struct link *link, const uint8_t *frame) {
    return mac_is_group(frame) || link_is_own(link, frame);
}

/* What a frame comes to; REPLY: it is to be replied to. Nothing is written but the outcome. */
static inline enum verdict verdict_of(const struct table *table, const struct link *link, const uint8_t *frame,
                                      uint32_t length, struct outcome *outcome) {
    *outcome = (struct outcome){0};
    if (length < sizeof(struct ethernet)) return VERDICT_SHORT;
    const struct ethernet *ethernet = (const struct ethernet *)frame;
    if (!is_for_us(link, frame)) return VERDICT_NOT_FOR_US;
    switch (net16(ethernet->type)) {
    case TYPE_ARP:
        return judge_arp(table, link, frame, length, outcome);
    case TYPE_IPV6:
        return judge_nd(table, link, frame, length, outcome);
    case TYPE_VLAN:
    case TYPE_SERVICE_VLAN:
        return VERDICT_TAGGED;
    default:
        return VERDICT_OTHER_PROTOCOL;
    }
}

/* How long the reply will be to what was judged to have one. */
static inline uint32_t reply_length(const struct outcome *outcome) {
    return outcome->version == 4 ? sizeof(struct arp_frame) : sizeof(struct nd_frame);
}

/* Writes that reply over the frame, or elsewhere; returns its length. */
static inline uint32_t write_reply(const struct link *link, const uint8_t *frame, uint8_t *reply,
                                   const struct outcome *outcome) {
    if (outcome->version == 4) return arp_reply(link, frame, reply);
    return nd_reply(link, frame, reply, outcome->mac, (enum kind)outcome->kind);
}

/* `capacity` is how much may be written at `frame`; FRAME_ROOM suffices for every reply. */
static inline enum verdict answer(const struct table *table, const struct link *link, uint8_t *frame, uint32_t length,
                                  uint32_t capacity, struct outcome *outcome) {
    enum verdict verdict = verdict_of(table, link, frame, length, outcome);
    if (verdict != VERDICT_REPLY) return verdict;
    if (capacity < reply_length(outcome)) return VERDICT_NO_ROOM;
    outcome->reply_length = (uint16_t)write_reply(link, frame, frame, outcome);
    return verdict;
}

#ifndef __BPF__
/* What of the table is fetched when: see table_prefetch_slot(). */
enum fetch { FETCH_SLOT, FETCH_BLOCK };

/* Fetches a part of the table that answer() will ask for this frame's target. */
__attribute__((always_inline)) static inline void answer_prefetch(const struct table *table, const uint8_t *frame,
                                                                  uint32_t length, enum fetch fetch) {
    uint64_t high = 0, low;
    uint32_t offset;
    if (length < sizeof(struct ethernet) + sizeof(struct arp)) return;
    if (load16(frame + 12) == net16(TYPE_ARP)) {
        uint32_t target = net32(load32(frame + 38));
        low = TABLE_IPV4 | target >> 16;
        offset = target & 0xffff;
    } else if (length >= ND_OPTIONS_AT) {
        const uint8_t *target = ((const struct nd_frame *)frame)->nd.target;
        high = net64(load64(target));
        low = net64(load64(target + 8)) >> 16;
        offset = (uint32_t)target[14] << 8 | target[15];
    } else {
        return;
    }
    if (fetch == FETCH_SLOT)
        table_prefetch_slot(table, high, low);
    else
        table_prefetch_block(table, high, low, offset);
}
#endif

#endif
