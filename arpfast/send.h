/* How frames leave: replies in batches, and what is queued, in turns and at the pace. */
#ifndef ARPFAST_SEND_H
#define ARPFAST_SEND_H

#include "thread.h"

/* Sends the first `frames` pieces; returns how many went out. A frame that the kernel refuses is counted and passed
 * over: its asker will ask again, and trying it again here would let one bad interface hold up all. */
static inline uint32_t send_batch(struct loop *loop, struct port *port, enum family family, uint32_t frames) {
    uint32_t done = 0, sent = 0, refusals = 0;
    while (done < frames && refusals < REFUSALS) {
        const struct iovec *piece = &loop->pieces[done];
        int went;
        if (frames - done == 1) /* a lone request: the plain call is the quicker one */
            went = send(port->ring[family].fd, piece->iov_base, piece->iov_len, MSG_DONTWAIT) < 0 ? -1 : 1;
        else
            went = sendmmsg(port->ring[family].fd, loop->outgoing + done, frames - done, MSG_DONTWAIT);
        if (went > 0) {
            sent += (uint32_t)went;
            done += (uint32_t)went;
        } else if (errno != EINTR) {
            done++;
            refusals = errno == ENETDOWN || errno == ENXIO || errno == ENODEV ? REFUSALS : refusals + 1;
        }
    }
    if (sent < frames) tally(&port->send_errors, frames - sent);
    return sent;
}

/* Has the queue's producer, who was refused, go on. */
static inline void tell_room(struct loop *loop, struct port *port, uint8_t version) {
    if (!queue_has_room_again(&port->queue)) return;
    struct fact fact = {.monotonic_ns = loop->now_ns, .ifindex = port->ifindex, .kind = FACT_ROOM, .version = version};
    facts_put(&loop->facts, &fact, 0);
}

/* The message to send next on an interface, or NULL: what came with an estate before what Python queued. */
static inline struct message *first_message(const struct plan_entry *entry) {
    struct bequest *whose;
    struct message *message = bequest_message(entry->inherited, &whose);
    return message ? message : queue_first(&entry->port->queue);
}

/* One address of the first message is on its way. */
static inline void advance_message(const struct plan_entry *entry) {
    struct bequest *whose;
    struct message *message = bequest_message(entry->inherited, &whose);
    if (message == NULL)
        queue_advance(&entry->port->queue);
    else if (message_advance(message))
        whose->sent++;
}

/* Sends up to `allowed` frames of one family of what an interface has to send; returns how many were tried. */
static inline uint32_t send_some(struct loop *loop, const struct plan_entry *entry, uint32_t allowed) {
    struct port *port = entry->port;
    struct message *message = first_message(entry);
    uint32_t frames = 0;
    uint8_t version = message ? message->version : 0, kinds[PACE_SLICE];
    while (frames < allowed && message && message->version == version) {
        loop->pieces[frames] =
            (struct iovec){loop->built[frames], message_write(loop->built[frames], &entry->link, message)};
        kinds[frames++] = message->kind;
        advance_message(entry);
        message = first_message(entry);
    }
    if (frames == 0) return 0;
    if (!may_speak(loop)) {
        tally(&port->withheld, frames);
        return frames;
    }
    uint32_t sent = send_batch(loop, port, version == 4 ? FAMILY_ARP : FAMILY_IPV6, frames);
    /* Which of a batch were refused is not kept: in the rare batch that lost some, kinds may swap places. */
    for (uint32_t i = 0; i < sent; i++) tally(&port->sent[kinds[i]], 1);
    tell_room(loop, port, version);
    return frames;
}

/* Forgets what waits to be sent: what was right to say before a freeze may be wrong after it. */
static inline void withhold_queued(struct loop *loop) {
    for (uint32_t i = 0; i < loop->plan->count; i++) {
        const struct plan_entry *entry = &loop->plan->entries[i];
        struct port *port = entry->port;
        struct bequest *whose;
        uint64_t dropped = 0;
        for (struct message *message; (message = bequest_message(entry->inherited, &whose)); whose->sent++)
            dropped += message->left;
        for (struct message *message; (message = queue_first(&port->queue)); queue_skip(&port->queue))
            dropped += message->left;
        if (dropped) tally(&port->withheld, dropped);
        tell_room(loop, port, 4);
    }
    loop->sending = false;
}

/* Sends what is due, in turns; returns the time until more is, or FOREVER if nothing waits. */
static inline uint64_t send_due(struct loop *loop) {
    const struct plan *plan = loop->plan;
    if (lease_frozen(&loop->lease)) {
        withhold_queued(loop);
        return FOREVER;
    }
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < plan->count; i++) waiting += first_message(&plan->entries[i]) != NULL;
    if (waiting && !loop->sending) pace_start(&loop->pace, loop->now_ns);
    loop->sending = waiting > 0;
    if (!waiting) return FOREVER;
    uint32_t allowed = pace_allows(&loop->pace, loop->now_ns), spent = 0;
    uint32_t share = allowed / waiting ? allowed / waiting : 1;
    for (uint32_t i = 0; i < plan->count && spent < allowed; i++) {
        uint32_t frames = send_some(loop, &plan->entries[loop->turn++ % plan->count],
                                    share < allowed - spent ? share : allowed - spent);
        spent += frames;
    }
    pace_spend(&loop->pace, spent);
    if (lease_frozen(&loop->lease)) withhold_queued(loop);
    return pace_sleep_ns(&loop->pace, loop->now_ns);
}

#endif
