/* How often we answer: a token bucket for each asking hardware address, and one for all together.
 *
 * Buckets are kept as the moment at which they will be full again (the generic cell rate algorithm): one number, no
 * refilling, and a bucket whose moment has passed is the same as no bucket. So memory is fixed and forgetting is free:
 * the buckets lie in sets of eight, and a newcomer takes the place of the one that is full longest.
 *
 * Who floods spends its own bucket first, and what its bucket refuses does not touch the common one: one host, however
 * fast, leaves the common bucket to the others. Against a flood of ever new addresses only the common bucket helps.
 * Half of its burst is kept for those whom we remember: newcomers are refused while less than that is left, so they
 * share among them what the remembered ones leave, and a neighbour who asks now and then and was answered once is
 * answered further on. A refused newcomer is not remembered: forgetting goes only as fast as we answer. The sets are
 * picked with a secret seed, so nobody can choose addresses that push out another's.
 *
 * No clock is read and nothing is allocated; one thread uses one guard. */
#ifndef ARPFAST_GUARD_H
#define ARPFAST_GUARD_H

#include "frames.h"

enum { GUARD_SETS = 1024, GUARD_WAYS = 8 };

/* A rate and what may come at once; no limit if the rate is 0 or beyond one a nanosecond. */
struct guard_rate {
    uint64_t period_ns;
    uint64_t burst_ns; /* burst times period */
};

struct guard_bucket {
    uint64_t mac; /* mac_number(); 0: free */
    uint64_t full_ns;
};

struct guard {
    struct guard_rate each, all;
    uint64_t all_full_ns;
    uint64_t seed;
    struct guard_bucket buckets[GUARD_SETS][GUARD_WAYS];
};

static inline struct guard_rate guard_rate(uint32_t rate_per_s, uint32_t burst) {
    uint64_t period_ns = rate_per_s ? 1000000000u / rate_per_s : 0;
    return (struct guard_rate){period_ns, period_ns * (burst ? burst : 1)};
}

/* How much of a bucket is spent, as time to refill it. More than all of it can only mean that the clock went back. */
static inline uint64_t guard_spent(uint64_t full_ns, uint64_t now_ns, struct guard_rate rate) {
    int64_t spent = (int64_t)(full_ns - now_ns); /* right even where the clock wraps */
    return spent > 0 && (uint64_t)spent <= rate.burst_ns ? (uint64_t)spent : 0;
}

/* Forgets everything and sets the rates; `seed` should be random. */
static inline void guard_reset(struct guard *guard, struct guard_rate each, struct guard_rate all, uint64_t seed) {
    __builtin_memset(guard, 0, sizeof *guard);
    guard->each = each;
    guard->all = all;
    guard->seed = seed | 1;
}

static inline struct guard_bucket *guard_set(struct guard *guard, uint64_t mac) {
    uint64_t hash = (mac ^ guard->seed) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32) * guard->seed;
    return guard->buckets[hash >> 32 & (GUARD_SETS - 1)];
}

/* The bucket of `mac`, or else the one to be given to it: a free one, or the one that is full longest. */
static inline struct guard_bucket *guard_bucket(struct guard *guard, uint64_t mac) {
    struct guard_bucket *set = guard_set(guard, mac), *found = set;
    for (uint32_t way = 0; way < GUARD_WAYS; way++) {
        if (set[way].mac == mac) return &set[way];
        if (found->mac && (!set[way].mac || (int64_t)(set[way].full_ns - found->full_ns) < 0)) found = &set[way];
    }
    return found;
}

/* Whether a question from `mac` that arrived at `now_ns`, by a clock that goes forward, may be answered. */
static inline int guard_admit(struct guard *guard, const uint8_t mac[6], uint64_t now_ns) {
    struct guard_rate each = guard->each, all = guard->all;
    if (!each.period_ns && !all.period_ns) return 1;
    uint64_t number = mac_number(mac);
    struct guard_bucket *bucket = guard_bucket(guard, number);
    int known = bucket->mac == number;
    uint64_t spent_ns = known ? guard_spent(bucket->full_ns, now_ns, each) : 0;
    if (spent_ns + each.period_ns > each.burst_ns) return 0;
    uint64_t all_spent_ns = guard_spent(guard->all_full_ns, now_ns, all);
    uint64_t open_ns = known ? all.burst_ns : all.burst_ns - all.burst_ns / 2;
    if (all_spent_ns + all.period_ns > (open_ns > all.period_ns ? open_ns : all.period_ns)) return 0;
    bucket->mac = number;
    bucket->full_ns = now_ns + spent_ns + each.period_ns;
    guard->all_full_ns = now_ns + all_spent_ns + all.period_ns;
    return 1;
}

#endif
