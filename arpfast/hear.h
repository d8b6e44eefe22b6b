/* How frames are heard: from the ring to the verdict, and the reply on its way. */
#ifndef ARPFAST_HEAR_H
#define ARPFAST_HEAR_H

#include "answer.h"
#include "send.h"

/* Whether neither target nor sender were ours by one table, so that by another they may be. */
static inline bool is_about_nobody(enum verdict verdict) {
    return verdict == VERDICT_NOT_OURS || verdict == VERDICT_BAD_TARGET;
}

/* Remembers who was answered: for the address, and among all. The reply, which lies in the frame, has the asker's own
 * address; who probed has none, and need not be told of anything. */
static inline void note_asker(struct loop *loop, const struct plan_entry *entry, const uint8_t *frame,
                              const struct outcome *outcome) {
    struct asker asker = {.monotonic_ns = loop->now_ns, .ifindex = entry->port->ifindex, .version = outcome->version};
    memcpy(asker.mac, outcome->mac, 6);
    memcpy(asker.address, outcome->address, asker.version == 4 ? 4 : 16);
    asked_note(&loop->asked, &asker);
    if (asker.version == 4)
        memcpy(asker.address, ((const struct arp_frame *)frame)->arp.tpa, 4);
    else
        memcpy(asker.address, ((const struct nd_frame *)frame)->ipv6.destination, 16);
    if (asker.version == 4 ? load32(asker.address) != 0 : !ip6_is_multicast(asker.address))
        askers_note(&loop->askers, &asker);
}

/* What a frame comes to; a reply of `outcome->reply_length` bytes then lies in the frame. */
static inline enum verdict judge(struct loop *loop, const struct plan_entry *entry, uint8_t *frame, uint32_t length,
                                 uint32_t capacity, struct outcome *outcome) {
    enum verdict verdict = answer(entry->table, &entry->link, frame, length, capacity, outcome);
    for (const struct bequest *bequest = entry->inherited; bequest && is_about_nobody(verdict); bequest = bequest->next)
        if (bequest->table) verdict = answer(bequest->table, &entry->link, frame, length, capacity, outcome);
    switch (verdict) {
    case VERDICT_REPLY:
        if (lease_frozen(&loop->lease)) return VERDICT_FROZEN;
        /* What members ask, they ask to know that we live: never too often, and no news to anybody. */
        if (link_is_member(&entry->link, outcome->mac)) break;
        if (loop->limited && !guard_admit(&loop->guard, outcome->mac, loop->now_ns)) return VERDICT_LIMITED;
        note_asker(loop, entry, frame, outcome);
        break;
    case VERDICT_CONFLICT:
        tell(loop, entry->port, FACT_CONFLICT, outcome);
        break;
    case VERDICT_TAKEN:
        tell(loop, entry->port, FACT_TAKEN, outcome);
        break;
    case VERDICT_RIVAL:
        tell(loop, entry->port, FACT_RIVAL, outcome);
        break;
    case VERDICT_CONFIRMED:
        tell(loop, entry->port, FACT_CONFIRMED, outcome);
        break;
    default:
        break;
    }
    return verdict;
}

static inline struct tpacket2_hdr *ring_slot(const struct ring *ring, uint32_t index) {
    return (struct tpacket2_hdr *)(ring->memory + (size_t)(index & (ring->frames - 1)) * SLOT_SIZE);
}

/* In a batch, has memory bring a later frame's part of the table while this one is judged. */
static inline void look_ahead(const struct table *table, const struct tpacket2_hdr *slot, enum fetch fetch) {
    if (__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)
        answer_prefetch(table, (const uint8_t *)slot + slot->tp_mac, slot->tp_snaplen, fetch);
}

/* Takes up to BATCH frames from one ring; returns how many there were. */
static inline uint32_t hear(struct loop *loop, const struct plan_entry *entry, enum family family) {
    struct port *port = entry->port;
    struct ring *ring = &port->ring[family];
    if (ring->memory == NULL) return 0;
    uint32_t heard = 0, replies = 0;
    while (heard < BATCH) {
        struct tpacket2_hdr *slot = ring_slot(ring, ring->next + heard);
        uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER)) break;
        heard++;
        look_ahead(entry->table, ring_slot(ring, ring->next + heard + AHEAD), FETCH_SLOT);
        look_ahead(entry->table, ring_slot(ring, ring->next + heard + AHEAD / 2), FETCH_BLOCK);
        uint8_t *frame = (uint8_t *)slot + slot->tp_mac, *judged = frame;
        uint32_t length = slot->tp_snaplen, capacity = SLOT_SIZE - slot->tp_mac;
        const struct sockaddr_ll *from = (const void *)((uint8_t *)slot + TPACKET_ALIGN(sizeof *slot));
        if (status & TP_STATUS_COPY) {
            /* Longer than a slot: the whole of it waits in the socket's queue, in the order of the slots. */
            ssize_t whole = recv(ring->fd, loop->long_frame, LONG_FRAME, MSG_DONTWAIT);
            if (whole > 0) {
                judged = loop->long_frame;
                length = (uint32_t)whole;
                capacity = LONG_FRAME;
            }
        }
        enum verdict verdict;
        struct outcome outcome;
        if (from->sll_pkttype == PACKET_OTHERHOST)
            verdict = VERDICT_NOT_FOR_US;
        else if ((status & TP_STATUS_VLAN_VALID) && (slot->tp_vlan_tci & 0xfff) != 0)
            verdict = VERDICT_TAGGED;
        else
            verdict = judge(loop, entry, judged, length, capacity, &outcome);
        tally(&port->verdicts[verdict], 1);
        if (verdict != VERDICT_REPLY) continue;
        if (judged != frame) memcpy(frame, judged, outcome.reply_length);
        loop->pieces[replies++] = (struct iovec){frame, outcome.reply_length};
    }
    if (replies && may_speak(loop)) {
        send_batch(loop, port, family, replies);
    } else if (replies) {
        tally(&port->verdicts[VERDICT_REPLY], -(uint64_t)replies);
        tally(&port->verdicts[VERDICT_FROZEN], replies);
    }
    for (uint32_t i = 0; i < heard; i++)
        __atomic_store_n(&ring_slot(ring, ring->next + i)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    ring->next += heard;
    port->heard += heard;
    return heard;
}

#endif
