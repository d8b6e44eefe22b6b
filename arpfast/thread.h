/* What the thread has, and the small things that all its parts do. How they work together is told in loop.h. */
#ifndef ARPFAST_THREAD_H
#define ARPFAST_THREAD_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "askers.h"
#include "facts.h"
#include "guard.h"
#include "lease.h"
#include "plan.h"
#include "term.h"

enum {
    BATCH = 64,
    AHEAD = 8,
    LONG_FRAME = 1 << 16,
    PASSES_WITHOUT_POLL = 256,
    REFUSALS = 4,   /* by the kernel, in one batch; what is left of the batch is not tried */
    FRUITLESS = 64, /* wake-ups in a row for nothing, before the thread slows down */
    INQUESTS = 16
};

#define INQUEST_NS 64000000u /* between two looks at whether sockets that reported an error are orphans */

#define FOREVER UINT64_MAX

/* Of all watches since the start. */
struct watched {
    uint64_t questions, answers, silences, suspensions, inherited;
};

struct loop {
    struct plan *wish; /* published by Python */
    uint64_t adopted;  /* generation, published by the thread */
    uint32_t stop;
    int bell;         /* eventfd: Python has changed something */
    int echo;         /* eventfd: the thread has adopted a plan, or ends */
    uint64_t settled; /* freezes, by Python */
    pthread_t thread;
    bool fifo; /* the thread runs under SCHED_FIFO */
    struct asked asked;
    struct askers askers;
    struct facts facts;

    _Alignas(64) struct plan *plan; /* from here on the thread's own */
    uint64_t now_ns;
    struct lease lease;
    struct term *term;   /* of the kernel's own answers; NULL: it gives none */
    uint64_t outlive_ns; /* for how long it goes on without us, where there is no lease */
    uint64_t watch_ns;   /* when the next watch is due */
    struct watched watched;
    uint64_t beats; /* passes of the thread; Python reads it to know that it lives */
    uint32_t turn;  /* the entry that sends first */
    struct pace pace;
    bool sending; /* messages were waiting at the last look */
    bool limited;
    uint32_t fruitless;
    uint32_t inquests; /* still to be held */
    uint64_t inquest_ns;
    uint64_t seed; /* of the guard; random */
    struct rates rates;
    struct guard guard;
    struct mmsghdr outgoing[BATCH];
    struct iovec pieces[BATCH];
    uint8_t built[PACE_SLICE][FRAME_ROOM];
    uint8_t long_frame[LONG_FRAME];
};

static inline void tally(uint64_t *counter, uint64_t more) {
    __atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

static inline uint64_t peek(const uint64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Whether anything may be sent at this moment, however short ago the pass began: asked right before. */
static inline bool may_speak(struct loop *loop) {
    if (!loop->lease.gap_ns) return true;
    return !lease_frozen(&loop->lease) && lease_holds(&loop->lease, clock_ns(CLOCK_BOOTTIME));
}

static inline void tell(struct loop *loop, const struct port *port, enum fact_kind kind,
                        const struct outcome *outcome) {
    struct fact fact = {
        .monotonic_ns = loop->now_ns, .ifindex = port->ifindex, .kind = kind, .version = outcome->version};
    memcpy(fact.mac, outcome->mac, 6);
    memcpy(fact.address, outcome->address, fact.version == 4 ? 4 : 16);
    facts_heard(&loop->facts, &fact);
}

/* Tells of each freeze, as soon as there is room for it: who is never told, never speaks again. */
static inline void tell_freezes(struct loop *loop) {
    struct lease *lease = &loop->lease;
    while (lease->told < lease->freezes && facts_room(&loop->facts)) {
        struct fact fact = {.monotonic_ns = loop->now_ns,
                            .span_ns = lease->frozen_ns,
                            .error = (int32_t)++lease->told,
                            .kind = FACT_FROZEN,
                            .version = 4};
        facts_put(&loop->facts, &fact, 0);
    }
}

#endif
