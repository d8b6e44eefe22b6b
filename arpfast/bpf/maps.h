/* What the programs in the kernel and the process that loaded them agree on: the values in the maps. */
#ifndef ARPFAST_BPF_MAPS_H
#define ARPFAST_BPF_MAPS_H

#include <linux/types.h>

#include "../term.h"
#include "../verdict.h"
#include "recent.h"

enum {
    LINKS_MAX = 1024,   /* interfaces at a time; one more is merely not filtered */
    SLOTS_MAX = 2048,   /* a power of two: tables, one each, and those that wait for their slot to be used again */
    ASKERS_MAX = 16384, /* MACs remembered by the buckets; the least recently seen is forgotten */
    SEATS_MAX = 1024,   /* a power of two: interfaces on which the kernel answers itself, by ifindex modulo this */
    LINKS_KEPT = 2048,  /* identities of interfaces: those in use, and those that a program may still be reading */
    PAGE_WORDS = 512,   /* of a table's map: its values are pages, since an access to a map costs more than all else */
};

/* A table's outline (table.h), by its slot: beside the map, where a program comes by without a call. */
struct outline {
    uint64_t word[24];
} __attribute__((aligned(64)));

/* One per interface; interfaces with equal tables share a slot. Without a place, everything passes: the filter never
 * stands between a wanted frame and a reader that it knows nothing about. */
struct place {
    __u32 slot;    /* of `tables` */
    __u32 guarded; /* the guard has counted the asker's questions already: the filter must not count them twice */
};

/* A token bucket as one word (the generic cell rate algorithm): the moment at which it will be full again. A frame
 * costs `cost_ns`, and is refused if more than `window_ns` would be spent then: `window_ns / cost_ns` frames come at
 * once, one every `cost_ns` in the long run. Cost 0: no limit. */
struct bucket {
    __u64 cost_ns;
    __u64 window_ns;
};

/* Questions for our addresses: per source MAC, and from all. */
struct limits {
    struct bucket asker;
    struct bucket all;
};

/* Where an interface has its answer from, as one word that is exchanged at once: ifindex at bit 32, the table's slot at
 * bit 16, and which of `identities` it has. 0: the kernel answers nothing there. */
static inline __u64 seat_word(__u32 ifindex, __u32 slot, __u32 identity) {
    return (__u64)ifindex << 32 | slot << 16 | identity;
}

/* What became of the frames of an interface: of each seat its verdicts, and UNJUDGED, which are longer than the
 * programs read, or of another member. */
enum { UNJUDGED = VERDICT_COUNT, SEAT_TALLIES = 32 };

_Static_assert(UNJUDGED < SEAT_TALLIES, "each verdict has its place");

static inline __u32 tally_key(__u32 ifindex, __u32 verdict) {
    return ifindex % SEATS_MAX * SEAT_TALLIES + verdict;
}

enum counter {
    FILTER_PASSED,
    FILTER_FOREIGN,   /* about no address of ours */
    FILTER_MALFORMED, /* too short to be about any address, or of another protocol */
    FILTER_STRAY,     /* tagged, sent by this host, or to the MAC of another */
    FILTER_LIMITED,
    GUARD_ADMITTED, /* questions for our addresses */
    GUARD_LIMITED,
    COUNTERS,
};

#endif
