/* The thread's part in watching others and taking over from them, with nobody to ask: watch.h says what is silence,
 * estate.h what is then to be done, this does it and tells Python afterwards.
 *
 * Answers to watches come to sockets of their own (`ear`), so that they are heard when a flood has filled the ring, and
 * cost nothing where nobody is watched. They wake nobody: the thread looks when the interval is over. */
#ifndef ARPFAST_SUCCESSION_H
#define ARPFAST_SUCCESSION_H

#include "send.h"
#include "watch.h"

enum { EAR_AT_ONCE = 512 }; /* more answers than any number of watches has in an interval: a flood */

static inline void tell_of_watch(struct loop *loop, const struct watch *watch, enum fact_kind kind, uint64_t now_ns) {
    struct fact fact = {.monotonic_ns = now_ns,
                        .span_ns = watch->heard_ns ? now_ns - watch->heard_ns : 0,
                        .ifindex = watch->ifindex,
                        .kind = kind,
                        .version = watch->version};
    memcpy(fact.mac, watch->mac, 6);
    memcpy(fact.address, watch->address, sizeof fact.address);
    facts_put(&loop->facts, &fact, 0);
}

static inline void take_answer(struct loop *loop, const struct port *port, const uint8_t *frame, uint32_t length,
                               uint64_t now_ns) {
    const struct plan *plan = loop->plan;
    for (uint32_t i = 0; i < plan->watch_count; i++) {
        struct watch *watch = plan->watches[i];
        if (watch->ifindex != port->ifindex || !watch->entry ||
            !watch_is_answer(watch, &watch->entry->link, frame, length))
            continue;
        tally(&loop->watched.answers, 1);
        if (watch->silent || watch->mute) tell_of_watch(loop, watch, FACT_SPOKE, now_ns);
        watch_heard(watch, now_ns);
    }
}

/* Takes what has come to the ear, for whichever watch it is. */
static inline void listen_to(struct loop *loop, struct port *port, enum family family, uint64_t now_ns) {
    uint8_t frame[256]; /* of a longer one the sum does not hold */
    for (uint32_t i = 0; i < EAR_AT_ONCE; i++) {
        ssize_t length = recv(port->ear[family], frame, sizeof frame, MSG_DONTWAIT);
        if (length >= 0)
            take_answer(loop, port, frame, (uint32_t)length, now_ns);
        else if (errno == EAGAIN || errno == EBADF || errno == ENXIO || errno == ENODEV)
            return;
    }
    tally(&port->ear_drops, 1);
}

/* Whether all who are watched for an estate are silent, and one of them has answered before: an owner is asked by each
 * hardware address that it may have, and most of these are nobody's on this link. */
static inline bool is_left(const struct plan *plan, const struct estate *estate) {
    bool known = false;
    for (uint32_t i = 0; i < plan->watch_count; i++) {
        const struct watch *watch = plan->watches[i];
        if (watch->estate != estate) continue;
        if (!watch->silent) return false;
        known |= watch->known;
    }
    return known;
}

/* Answers and announces from now on what the watched owner left. Told who it was that fell silent last. */
static inline void inherit(struct loop *loop, const struct watch *watch, uint64_t now_ns) {
    struct estate *estate = watch->estate;
    if (!estate || estate->inherited || !is_left(loop->plan, estate)) return;
    estate->inherited = true;
    plan_enter(loop->plan, estate);
    tally(&loop->watched.inherited, 1);
    tell_of_watch(loop, watch, FACT_INHERITED, now_ns);
}

static inline void ask(struct loop *loop, struct watch *watch, enum family family) {
    uint8_t *frame = loop->built[0];
    uint32_t length = watch_write(frame, &watch->entry->link, watch);
    bool sent = length && may_speak(loop) &&
                send(watch->entry->port->ring[family].fd, frame, length, MSG_DONTWAIT) == (ssize_t)length;
    if (sent) tally(&loop->watched.questions, 1);
    watch_asked(watch, clock_ns(CLOCK_MONOTONIC), sent);
}

static inline void look_after(struct loop *loop, struct watch *watch) {
    struct port *port = watch->entry->port;
    enum family family = watch->version == 4 ? FAMILY_ARP : FAMILY_IPV6;
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    if (!may_speak(loop)) {
        watch_restart(watch);
        return;
    }
    listen_to(loop, port, family, now_ns);
    port_count_drops(port);
    tally(&port->ear_drops, socket_drops(port->ear[family]));
    bool flooded = watch_sees_flood(watch, now_ns, port->heard, peek(&port->drops) + port->ear_drops);
    switch (watch_tick(watch, now_ns, flooded)) {
    case WATCH_SILENT:
        tally(&loop->watched.silences, 1);
        tell_of_watch(loop, watch, FACT_SILENT, now_ns);
        inherit(loop, watch, now_ns);
        break;
    case WATCH_SUSPENDED:
        tally(&loop->watched.suspensions, 1);
        tell_of_watch(loop, watch, FACT_SUSPENDED, now_ns);
        break;
    case WATCH_RESUMED:
        tell_of_watch(loop, watch, FACT_RESUMED, now_ns);
        break;
    default:
        break;
    }
    ask(loop, watch, family);
}

/* Sees to the watches that are due, and when the next one is. Who is frozen watches nobody, and then begins anew: each
 * look does no more than that. */
static inline void keep_watch(struct loop *loop) {
    const struct plan *plan = loop->plan;
    uint64_t next_ns = FOREVER;
    for (uint32_t i = 0; i < plan->watch_count; i++) {
        struct watch *watch = plan->watches[i];
        if (!watch->entry) continue;
        if (loop->now_ns >= watch->due_ns) look_after(loop, watch);
        if (watch->due_ns < next_ns) next_ns = watch->due_ns;
    }
    loop->watch_ns = next_ns;
}

/* A new plan has been taken up: estates that it still names stay in force, and watches find their interfaces. */
static inline void adopt_watches(struct loop *loop) {
    struct plan *plan = loop->plan;
    for (uint32_t i = 0; i < plan->count; i++) plan->entries[i].inherited = NULL;
    for (uint32_t i = 0; i < plan->estate_count; i++)
        if (plan->estates[i]->inherited) plan_enter(plan, plan->estates[i]);
    for (uint32_t i = 0; i < plan->watch_count; i++) {
        struct watch *watch = plan->watches[i];
        watch->entry = plan_entry_of(plan, watch->ifindex);
        if (!watch->entry) watch_restart(watch);
    }
    loop->watch_ns = plan->watch_count ? 0 : FOREVER;
}

#endif
