/* What to answer, where and how often, and whom to watch, as a whole: for each port an identity and a table. Made and
 * freed by Python; the thread only follows one, and writes nothing but what is said to be its own. */
#ifndef ARPFAST_PLAN_H
#define ARPFAST_PLAN_H

#include <poll.h>
#include <stdlib.h>

#include "guard.h"
#include "port.h"
#include "table.h"
#include "watch.h"

struct plan_entry {
    struct port *port;
    const struct table *table;
    struct link link;
    struct bequest *inherited; /* the thread's own: in force here, the oldest first */
};

/* How often to answer, and to send what is queued. */
struct rates {
    struct guard_rate each, all; /* no limit if their periods are 0 */
    uint64_t send_interval_ns;
};

struct plan {
    uint64_t generation;
    struct rates rates;
    uint64_t lease_ns;     /* see lease.h; 0: none */
    struct pollfd *polled; /* 1 + FAMILIES for each entry; the thread's own to write */
    struct watch **watches;
    struct estate **estates; /* that the watches name, each once */
    uint32_t watch_count, estate_count;
    uint32_t count;
    struct plan_entry entries[];
};

static long plans_alive;

static inline void plan_free(struct plan *plan) {
    if (plan == NULL) return;
    free(plan->polled);
    free(plan->watches);
    free(plan->estates);
    free(plan);
    plans_alive--;
}

static inline struct plan *plan_new(uint32_t count, uint32_t watches, uint32_t estates, uint64_t generation) {
    struct plan *plan = calloc(1, sizeof *plan + count * sizeof(struct plan_entry));
    if (plan == NULL) return NULL;
    plans_alive++;
    *plan = (struct plan){.generation = generation, .count = count, .watch_count = watches, .estate_count = estates};
    plan->polled = malloc((1 + FAMILIES * count) * sizeof *plan->polled);
    plan->watches = malloc((watches + 1) * sizeof *plan->watches);
    plan->estates = malloc((estates + 1) * sizeof *plan->estates);
    if (plan->polled && plan->watches && plan->estates) return plan;
    plan_free(plan);
    return NULL;
}

static inline struct plan_entry *plan_entry_of(struct plan *plan, uint32_t ifindex) {
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->entries[i].port->ifindex == ifindex) return &plan->entries[i];
    return NULL;
}

/* The thread: an estate is in force from now on, on those of its interfaces that have a link. */
static inline void plan_enter(struct plan *plan, struct estate *estate) {
    for (uint32_t i = 0; i < estate->count; i++) {
        struct plan_entry *entry = plan_entry_of(plan, estate->bequests[i].ifindex);
        if (entry) bequest_append(&entry->inherited, &estate->bequests[i]);
    }
}

#endif
