/* What to answer, where and how often, as a whole: for each port an identity and a table. Made and freed by Python; the
 * thread only follows one, and writes nothing but `polled`. */
#ifndef ARPFAST_PLAN_H
#define ARPFAST_PLAN_H

#include <poll.h>
#include <stdlib.h>

#include "guard.h"
#include "port.h"
#include "table.h"

struct plan_entry {
    struct port *port;
    const struct table *table;
    struct link link;
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
    uint32_t count;
    struct plan_entry entries[];
};

static long plans_alive;

static inline struct plan *plan_new(uint32_t count, uint64_t generation) {
    struct plan *plan = malloc(sizeof *plan + count * sizeof(struct plan_entry));
    if (plan == NULL) return NULL;
    *plan = (struct plan){.generation = generation, .count = count};
    plan->polled = malloc((1 + FAMILIES * count) * sizeof *plan->polled);
    if (plan->polled == NULL) {
        free(plan);
        return NULL;
    }
    plans_alive++;
    return plan;
}

static inline void plan_free(struct plan *plan) {
    if (plan == NULL) return;
    free(plan->polled);
    free(plan);
    plans_alive--;
}

#endif
