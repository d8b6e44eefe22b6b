/* What a watched owner leaves should it fall silent, and for whom that lies ready: on each interface what to answer
 * besides our own, and whom to tell, in order. Python prepares it, with all that there is to think about; the thread
 * needs no more than to begin.
 *
 * An estate is begun once and then in force until Python's plans do not name it any more. It never hides what we answer
 * anyway: its tables are asked where our own says that an address is not ours. So any number of estates may be in force
 * at a time, and while there is none, nothing is asked twice. */
#ifndef ARPFAST_ESTATE_H
#define ARPFAST_ESTATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "queue.h"
#include "table.h"

/* The part of it on one interface. */
struct bequest {
    uint32_t ifindex;
    uint32_t count;
    const struct table *table; /* NULL: nothing to answer */
    struct message *messages;  /* the thread's to count up as it sends */

    uint32_t sent; /* from here on the thread's own; messages that are done */
    struct bequest *next;
};

struct estate {
    bool inherited; /* by the thread; Python may look */
    uint32_t count;
    struct bequest bequests[];
};

static long estates_alive;

static inline void estate_free(struct estate *estate) {
    if (estate == NULL) return;
    for (uint32_t i = 0; i < estate->count; i++) free(estate->bequests[i].messages);
    free(estate);
    estates_alive--;
}

/* `messages[i]` is how many the i-th bequest has room for; its other fields are zero. */
static inline struct estate *estate_new(uint32_t count, const uint32_t *messages) {
    struct estate *estate = calloc(1, sizeof *estate + count * sizeof *estate->bequests);
    if (estate == NULL) return NULL;
    estates_alive++;
    for (; estate->count < count; estate->count++) {
        struct bequest *bequest = &estate->bequests[estate->count];
        bequest->messages = calloc(messages[estate->count] + 1, sizeof *bequest->messages);
        if (bequest->messages == NULL) {
            estate_free(estate);
            return NULL;
        }
    }
    return estate;
}

/* Puts a bequest behind those that are in force on its interface: they are asked, and send, in this order. */
static inline void bequest_append(struct bequest **first, struct bequest *bequest) {
    while (*first) first = &(*first)->next;
    bequest->next = NULL;
    *first = bequest;
}

/* The message to send next of those in force, or NULL; `bequest` is whose. */
static inline struct message *bequest_message(struct bequest *bequest, struct bequest **whose) {
    for (; bequest; bequest = bequest->next) {
        if (bequest->sent == bequest->count) continue;
        *whose = bequest;
        return &bequest->messages[bequest->sent];
    }
    return NULL;
}

#endif
