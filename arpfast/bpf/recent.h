/* Who asked last, as asked.h and askers.h remember it, for what the kernel answered: two arrays that user space reads
 * in place. Processors may write to one entry at a time, and nobody waits: what they made of it together does not have
 * the sum that it says, and counts for nothing. */
#ifndef ARPFAST_BPF_RECENT_H
#define ARPFAST_BPF_RECENT_H

#include "../places.h"

#define RECENT_FRESH_NS 1000000000ull

struct recent {
    uint64_t monotonic_ns; /* up to a second earlier than it was */
    uint64_t mac;          /* mac_number(), the version above it */
    uint64_t high, low;    /* ours that was asked for, or the asker's own: an IPv4 address in the first four bytes */
    uint64_t ifindex;
    uint64_t sum;
};

static inline uint64_t recent_sum(const struct recent *recent) {
    uint64_t sum = (recent->monotonic_ns ^ recent->mac) * 0x9e3779b97f4a7c15ull;
    return ((sum ^ recent->high) * 3 + recent->low) * 0x9e3779b97f4a7c15ull + recent->ifindex + 1;
}

/* Writes unless the entry says the same already, and lately. */
INLINED static inline void recent_note(struct recent *entry, uint64_t monotonic_ns, uint64_t mac, uint64_t high,
                                       uint64_t low, uint64_t ifindex) {
    if (((entry->mac ^ mac) | (entry->high ^ high) | (entry->low ^ low) | (entry->ifindex ^ ifindex)) == 0 &&
        monotonic_ns - entry->monotonic_ns < RECENT_FRESH_NS)
        return;
    struct recent now = {monotonic_ns, mac, high, low, ifindex, 0};
    entry->monotonic_ns = monotonic_ns;
    entry->mac = mac;
    entry->high = high;
    entry->low = low;
    entry->ifindex = ifindex;
    entry->sum = recent_sum(&now);
}

static inline uint8_t recent_version(const struct recent *recent) {
    return (uint8_t)(recent->mac >> 48);
}

#endif
