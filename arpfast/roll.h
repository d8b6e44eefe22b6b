/* The units of an election as C sees them: runs of addresses in order, and a hash of each unit.
 *
 * A run is either many units, one an address, or a single unit that stands for a whole span; the latter lies at its
 * *anchor*, the first address that it answers for. Runs are disjoint, and units are numbered along them.
 *
 * The hash is the same on every machine, and has no seed: members must agree. It chains the finalizer of SplitMix64
 * (Stafford's variant 13) over the family and both ends of the unit's span, high halves first. */
#ifndef ARPFAST_ROLL_H
#define ARPFAST_ROLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned __int128 roll_address;

struct roll_run {
    roll_address first, last;
    uint32_t start; /* the number of its first unit */
    uint8_t version;
    bool whole;
};

static inline uint64_t roll_mix(uint64_t word) {
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9ull;
    word = (word ^ word >> 27) * 0x94d049bb133111ebull;
    return word ^ word >> 31;
}

static inline uint64_t roll_hash(uint8_t version, roll_address first, roll_address last) {
    uint64_t hash = roll_mix(version);
    hash = roll_mix(hash ^ (uint64_t)(first >> 64));
    hash = roll_mix(hash ^ (uint64_t)first);
    hash = roll_mix(hash ^ (uint64_t)(last >> 64));
    return roll_mix(hash ^ (uint64_t)last);
}

static inline roll_address roll_number(uint64_t high, uint64_t low) {
    return (roll_address)high << 64 | low;
}

/* The hash of the address at this place of a run. */
static inline uint64_t roll_hash_nth(const struct roll_run *run, uint32_t nth) {
    return roll_hash(run->version, run->first + nth, run->first + nth);
}

/* The first run that does not end before this address. */
static inline size_t roll_seek(const struct roll_run *runs, size_t count, uint8_t version, roll_address address) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct roll_run *run = &runs[middle];
        if (run->version < version || (run->version == version && run->last < address))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Which units of the run at `at` lie between two addresses: from, to (excluded). Returns whether any do. */
static inline bool roll_cut(const struct roll_run *runs, size_t count, size_t at, uint8_t version, roll_address first,
                            roll_address last, uint32_t *from, uint32_t *to) {
    if (at == count || runs[at].version != version || runs[at].first > last) return false;
    const struct roll_run *run = &runs[at];
    *from = run->start + (uint32_t)(first > run->first ? first - run->first : 0);
    *to = run->start + (uint32_t)((last < run->last ? last : run->last) - run->first) + 1;
    return true;
}

#endif
