/* What the programs in the kernel and the process that loaded them agree on: the values in the maps. */
#ifndef ARPFAST_BPF_MAPS_H
#define ARPFAST_BPF_MAPS_H

#include <linux/types.h>

#include "../members.h"

enum {
    LINKS_MAX = 1024,   /* interfaces at a time; one more is merely not filtered */
    SLOTS_MAX = 1032,   /* tables at a time: one each, and those that wait for their slot to be used again */
    ASKERS_MAX = 16384, /* MACs remembered by the buckets; the least recently seen is forgotten */
};

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
