/* What the thread is to send of its own accord: a bounded queue for each interface, and the pace of all of them.
 *
 * A message stands for a span of addresses and is expanded as it is sent, so announcing a /16 costs one entry. One
 * producer (whoever calls `Responder.send`, one at a time), one consumer (the thread), and no clock of its own. */
#ifndef ARPFAST_QUEUE_H
#define ARPFAST_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "messages.h"

enum message_kind { MESSAGE_ANNOUNCE, MESSAGE_PROBE, MESSAGE_ASK, MESSAGE_TELL, MESSAGE_KINDS };

enum { QUEUE_SIZE = 4096 };

struct message {
    uint32_t left; /* addresses still to be sent, at least one */
    uint8_t kind;
    uint8_t version;
    uint8_t address[16]; /* the next; IPv4 in the first four */
    uint8_t target[16];  /* ASK: whom to ask for; TELL: whom to tell */
    uint8_t mac[6];      /* TELL: where that is */
};

struct queue {
    _Alignas(64) uint32_t head; /* written by the producer */
    uint32_t refused;           /* set by the producer when full, cleared by the thread when it has told of room */
    _Alignas(64) uint32_t tail; /* written by the thread */
    struct message messages[QUEUE_SIZE];
};

/* Producer. */
static inline bool queue_put(struct queue *queue, const struct message *message) {
    if (queue->head - __atomic_load_n(&queue->tail, __ATOMIC_ACQUIRE) == QUEUE_SIZE) {
        __atomic_store_n(&queue->refused, 1, __ATOMIC_SEQ_CST);
        /* The thread may have emptied it meanwhile, and would then never tell. */
        if (queue->head - __atomic_load_n(&queue->tail, __ATOMIC_SEQ_CST) == QUEUE_SIZE) return false;
    }
    queue->messages[queue->head % QUEUE_SIZE] = *message;
    __atomic_store_n(&queue->head, queue->head + 1, __ATOMIC_RELEASE);
    return true;
}

/* Anybody: how many wait, the half-sent one included. */
static inline uint32_t queue_length(const struct queue *queue) {
    return __atomic_load_n(&queue->head, __ATOMIC_ACQUIRE) - __atomic_load_n(&queue->tail, __ATOMIC_RELAXED);
}

/* Anybody, once the thread has let go of it: empties it; returns how many were in it. */
static inline uint32_t queue_clear(struct queue *queue) {
    uint32_t dropped = queue->head - queue->tail;
    queue->tail = queue->head;
    queue->refused = 0;
    return dropped;
}

/* Thread: the message to send from, or NULL. */
static inline struct message *queue_first(struct queue *queue) {
    if (queue->tail == __atomic_load_n(&queue->head, __ATOMIC_ACQUIRE)) return NULL;
    return &queue->messages[queue->tail % QUEUE_SIZE];
}

/* Thread: the first message is done, all of it. */
static inline void queue_skip(struct queue *queue) {
    __atomic_store_n(&queue->tail, queue->tail + 1, __ATOMIC_SEQ_CST);
}

/* One address of the message is on its way; whether that was the last. */
static inline bool message_advance(struct message *message) {
    if (--message->left == 0) return true;
    for (int i = message->version == 4 ? 3 : 15; i >= 0 && ++message->address[i] == 0; i--) {
    }
    return false;
}

/* Thread: the same of the first message. */
static inline void queue_advance(struct queue *queue) {
    if (message_advance(&queue->messages[queue->tail % QUEUE_SIZE])) queue_skip(queue);
}

/* Thread: whether the producer, once refused, should hear that there is room again. True once for each time. */
static inline bool queue_has_room_again(struct queue *queue) {
    return __atomic_load_n(&queue->refused, __ATOMIC_SEQ_CST) && queue_length(queue) <= QUEUE_SIZE / 2 &&
           __atomic_exchange_n(&queue->refused, 0, __ATOMIC_SEQ_CST);
}

/* Writes the frame that `message` stands for now; returns its length. `frame` has FRAME_ROOM bytes. */
static inline uint32_t message_write(void *frame, const struct link *link, const struct message *message) {
    const uint8_t *address = message->address, *target = message->target;
    switch (message->kind << 4 | message->version) {
    case MESSAGE_ANNOUNCE << 4 | 4:
        return message_announce4(frame, link, address);
    case MESSAGE_PROBE << 4 | 4:
        return message_probe4(frame, link, address);
    case MESSAGE_ASK << 4 | 4:
        return message_ask4(frame, link, address, target);
    case MESSAGE_TELL << 4 | 4:
        return message_tell4(frame, link, address, message->mac, target);
    case MESSAGE_ANNOUNCE << 4 | 6:
        return message_announce6(frame, link, address);
    case MESSAGE_PROBE << 4 | 6:
        return message_probe6(frame, link, address);
    case MESSAGE_TELL << 4 | 6:
        return message_tell6(frame, link, address, message->mac, target);
    default:
        return message_ask6(frame, link, address, target);
    }
}

/* The pace of all frames that are sent from queues, as a schedule: each frame has its due time. There is no bucket to
 * fill up while idle, so nothing starts with a burst; a thread that wakes late sends what fell due meanwhile, but no
 * more than PACE_CATCH_UP_NS worth of it. */
struct pace {
    uint64_t interval_ns;
    uint64_t due_ns;
};

#define PACE_CATCH_UP_NS 5000000ull
#define PACE_NAP_NS      1000000ull

enum { PACE_SLICE = 64 };

static inline struct pace pace_of(uint32_t rate_per_s) {
    return (struct pace){.interval_ns = (1000000000ull + rate_per_s / 2) / rate_per_s};
}

/* A queue that was empty has something now: the first frame is due at once, but never sooner than its interval. */
static inline void pace_start(struct pace *pace, uint64_t now_ns) {
    if (pace->due_ns < now_ns) pace->due_ns = now_ns;
}

/* How many frames may be sent now, at most PACE_SLICE. */
static inline uint32_t pace_allows(struct pace *pace, uint64_t now_ns) {
    if (now_ns < pace->due_ns) return 0;
    if (now_ns - pace->due_ns > PACE_CATCH_UP_NS + pace->interval_ns)
        pace->due_ns = now_ns - PACE_CATCH_UP_NS - pace->interval_ns;
    uint64_t frames = (now_ns - pace->due_ns) / pace->interval_ns + 1;
    return frames < PACE_SLICE ? (uint32_t)frames : PACE_SLICE;
}

static inline void pace_spend(struct pace *pace, uint32_t frames) {
    pace->due_ns += frames * pace->interval_ns;
}

/* How long to sleep until more is due. Fast paces are taken in slices of a millisecond rather than frame by frame. */
static inline uint64_t pace_sleep_ns(const struct pace *pace, uint64_t now_ns) {
    if (now_ns >= pace->due_ns) return 0;
    uint64_t until_ns = pace->due_ns - now_ns;
    return pace->interval_ns < PACE_NAP_NS && until_ns < PACE_NAP_NS ? PACE_NAP_NS : until_ns;
}

#endif
