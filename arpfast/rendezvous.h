/* The counting and choosing of an election: rendezvous hashing with bounded load, stickiness and weights.
 *
 * How a candidate stands towards a unit depends on the unit's class only: units of one class have the same fitnesses.
 * Of the candidates with the best fitness, the most preferred are the class's *top*; nobody else gets its units.
 * A candidate's *level* is its load for its weight, compared by multiplying, never by dividing. One rule carries all:
 *
 *     a unit may lie with A, and not with B of the same top, only while level(A with one unit less) <= 1.1 level(B)
 *
 * It bounds the load: unless A's load is at most its fair share, some B is below its own, so A's less one is below 1.1
 * fair shares. And it is indifferent to who else is there: no weight or number of others stands in it. So when a
 * candidate is lost, it still holds among the others, and placing each orphan on a candidate whose level is at most 1.1
 * of the lowest keeps it: nothing else has to move. That is Adams' method of apportionment, with a tenth of slack.
 *
 *   keep    a unit stays with its holder if that is in the top, or in hold-down; or if nobody is better than refused
 *   place   orphans in the order of units: of the candidates that the rule admits, that with the highest score,
 *           mix(hash of unit ^ hash of name)
 *   level   while the rule is broken: from the highest level to the lowest, as counts only; then each giver parts from
 *           the units that score lowest with it
 *
 * Levelling ends: each move lowers the sum, over all, of load * (load - 1) / 2 weight. User space, allocates. */
#ifndef ARPFAST_RENDEZVOUS_H
#define ARPFAST_RENDEZVOUS_H

#include <stdlib.h>
#include <string.h>

#include "roll.h"

/* From the best to the worst. From DRAINED on, a unit is held only because nobody is better, and stays where it is. */
enum fitness {
    FITNESS_ABLE,
    FITNESS_STANDBY, /* weight 0 */
    FITNESS_HOLDING, /* in hold-down: keeps what it has */
    FITNESS_DRAINED,
    FITNESS_UNHEALTHY,
    FITNESS_DRAINED_AND_UNHEALTHY,
    FITNESS_REFUSED, /* never holds it */
    FITNESS_COUNT,
};

enum { NOBODY = -1, MOVING = -2 };

struct poll {
    uint32_t units, candidates, classes;
    const uint64_t *hash;      /* of each unit */
    const uint32_t *class;     /* of each unit */
    const uint64_t *name_hash; /* of each candidate */
    const uint32_t *weight;    /* of each candidate, at least 1 */
    const uint32_t *grade;     /* of each candidate: 0 for the most preferred */
    const uint8_t *fitness;    /* candidates for each class */
    const uint8_t *gone;       /* of each candidate: as if it were not there */
    const int32_t *holder;     /* of each unit */
};

static inline uint8_t poll_fitness(const struct poll *poll, uint32_t class, uint32_t candidate) {
    return poll->gone[candidate] ? FITNESS_REFUSED : poll->fitness[(size_t)class * poll->candidates + candidate];
}

static inline uint64_t poll_score(const struct poll *poll, uint32_t unit, uint32_t candidate) {
    return roll_mix(poll->hash[unit] ^ poll->name_hash[candidate]);
}

/* Whether candidate `a` comes before `b`, regardless of units. */
static inline bool poll_before(const struct poll *poll, uint32_t class, uint32_t a, uint32_t b) {
    uint8_t of_a = poll_fitness(poll, class, a), of_b = poll_fitness(poll, class, b);
    return of_a != of_b ? of_a < of_b : poll->grade[a] < poll->grade[b];
}

/* Of two that claim to hold a unit, whether `a` rather than `b` is believed. */
static inline bool poll_believed(const struct poll *poll, uint32_t unit, uint32_t a, uint32_t b) {
    uint32_t class = poll->class[unit];
    if (poll_before(poll, class, a, b)) return true;
    if (poll_before(poll, class, b, a)) return false;
    return poll_score(poll, unit, a) > poll_score(poll, unit, b);
}

/* The top of each class, and what is counted meanwhile. */
struct tally {
    const struct poll *poll;
    uint64_t *load;    /* of each candidate */
    uint32_t *top;     /* candidates for each class: the indices of its top, in order */
    uint32_t *tops;    /* for each class: how many there are */
    uint8_t *best;     /* for each class: their fitness */
    uint8_t *is_top;   /* candidates for each class */
    uint32_t *movable; /* candidates for each class: units that levelling may take from it */
    int32_t *net;      /* candidates for each class: units to get, or to part from if negative */
    bool weighed;      /* what tally_weigh found, for which class, and at which loads */
    uint32_t class, lowest, next;
    uint64_t lowest_load, next_load;
};

static inline void tally_free(struct tally *tally) {
    free(tally->load);
    free(tally->top);
    free(tally->tops);
    free(tally->best);
    free(tally->is_top);
    free(tally->movable);
    free(tally->net);
}

static inline bool tally_make(struct tally *tally, const struct poll *poll) {
    size_t classes = poll->classes, count = poll->candidates, cells = classes * count + 1;
    *tally = (struct tally){
        .poll = poll,
        .load = calloc(count + 1, sizeof(uint64_t)),
        .top = malloc(cells * sizeof(uint32_t)),
        .tops = calloc(classes + 1, sizeof(uint32_t)),
        .best = malloc(classes + 1),
        .is_top = calloc(cells, 1),
        .movable = calloc(cells, sizeof(uint32_t)),
        .net = calloc(cells, sizeof(int32_t)),
    };
    if (!tally->load || !tally->top || !tally->tops || !tally->best || !tally->is_top || !tally->movable || !tally->net)
        return false;
    for (uint32_t class = 0; class < classes; ++class) {
        uint32_t *top = &tally->top[class * count], found = 0;
        for (uint32_t each = 0; each < count; each++) {
            if (poll_fitness(poll, class, each) == FITNESS_REFUSED) continue;
            if (found && poll_before(poll, class, top[0], each)) continue;
            if (found && poll_before(poll, class, each, top[0])) found = 0;
            top[found++] = each;
        }
        tally->tops[class] = found;
        tally->best[class] = found ? poll_fitness(poll, class, top[0]) : FITNESS_REFUSED;
        for (uint32_t each = 0; each < found; each++) tally->is_top[class * count + top[each]] = 1;
    }
    return true;
}

static inline bool tally_keeps(const struct tally *tally, uint32_t class, uint32_t holder) {
    uint8_t fitness = poll_fitness(tally->poll, class, holder);
    return tally->is_top[(size_t)class * tally->poll->candidates + holder] || fitness == FITNESS_HOLDING ||
           (fitness == tally->best[class] && fitness >= FITNESS_DRAINED && fitness != FITNESS_REFUSED);
}

static inline bool tally_levels(const struct tally *tally, uint32_t class) {
    return tally->best[class] < FITNESS_HOLDING && tally->tops[class] > 1;
}

/* Whether a / weight of a is less than b / weight of b; loads are below 2^32 and weights below 2^20. */
static inline bool level_less(uint64_t a, uint32_t weight_a, uint64_t b, uint32_t weight_b) {
    return a * weight_b < b * weight_a;
}

/* Whether the rule lets `candidate` have one more, if `lowest` has the lowest level. */
static inline bool tally_admits(const struct tally *tally, uint32_t candidate, uint32_t lowest) {
    const uint32_t *weight = tally->poll->weight;
    return !level_less(11 * tally->load[lowest], weight[lowest], 10 * tally->load[candidate], weight[candidate]);
}

/* Finds who has the lowest level in the class's top, and of those admitted then, whom one more burdens least: with
 * nothing at all everybody has the same level, whatever his weight. Loads only grow while units are placed, so both
 * are found anew only when theirs did. */
static inline void tally_weigh(struct tally *tally, uint32_t class) {
    const uint32_t *weight = tally->poll->weight, *top = &tally->top[(size_t)class * tally->poll->candidates];
    const uint64_t *load = tally->load;
    uint32_t lowest = top[0], next;
    if (tally->weighed && tally->class == class && load[tally->lowest] == tally->lowest_load &&
        load[tally->next] == tally->next_load)
        return;
    for (uint32_t at = 1; at < tally->tops[class]; at++)
        if (level_less(load[top[at]], weight[top[at]], load[lowest], weight[lowest])) lowest = top[at];
    next = lowest;
    for (uint32_t at = 0; at < tally->tops[class]; at++)
        if (tally_admits(tally, top[at], lowest) &&
            level_less(load[top[at]] + 1, weight[top[at]], load[next] + 1, weight[next]))
            next = top[at];
    tally->weighed = true, tally->class = class;
    tally->lowest = lowest, tally->lowest_load = load[lowest];
    tally->next = next, tally->next_load = load[next];
}

/* Who of the class's top is to have this unit. */
static inline uint32_t tally_place(struct tally *tally, uint32_t unit) {
    const struct poll *poll = tally->poll;
    const uint32_t *weight = poll->weight, class = poll->class[unit];
    const uint32_t *top = &tally->top[(size_t)class * poll->candidates];
    uint32_t chosen = top[0];
    uint64_t best = 0;
    bool found = false;
    tally_weigh(tally, class);
    for (uint32_t at = 0; at < tally->tops[class]; at++) {
        uint32_t each = top[at];
        if (!tally_admits(tally, each, tally->lowest) ||
            level_less(11 * (tally->next_load + 1), weight[tally->next], 10 * (tally->load[each] + 1), weight[each]))
            continue;
        uint64_t score = poll_score(poll, unit, each);
        if (!found || score > best) chosen = each, best = score, found = true;
    }
    return chosen;
}

/* Counts, for one class, what has to move from whom to whom. Returns whether anything has to. */
static inline bool tally_level(struct tally *tally, uint32_t class) {
    const uint32_t *weight = tally->poll->weight;
    const size_t row = (size_t)class * tally->poll->candidates;
    uint64_t *load = tally->load;
    bool moved = false;
    if (!tally_levels(tally, class)) return false;
    for (;; moved = true) {
        uint32_t receiver = tally->top[row], giver = receiver;
        bool found = false;
        for (uint32_t at = 0; at < tally->tops[class]; at++) {
            uint32_t each = tally->top[row + at];
            if (level_less(load[each], weight[each], load[receiver], weight[receiver]) ||
                (weight[each] > weight[receiver] &&
                 !level_less(load[receiver], weight[receiver], load[each], weight[each])))
                receiver = each;
            if (!tally->movable[row + each]) continue;
            if (!found || level_less(load[giver] - 1, weight[giver], load[each] - 1, weight[each])) giver = each;
            found = true;
        }
        if (!found || !level_less(11 * load[receiver], weight[receiver], 10 * (load[giver] - 1), weight[giver]))
            return moved;
        load[giver]--, tally->movable[row + giver]--, tally->net[row + giver]--;
        load[receiver]++, tally->movable[row + receiver]++, tally->net[row + receiver]++;
    }
}

/* A unit that its holder may have to part from. */
struct parting {
    uint64_t score;
    uint32_t class, holder, unit;
    bool kept; /* it was held before, so that parting from it moves it */
};

static inline int parting_order(const void *left, const void *right) {
    const struct parting *a = left, *b = right;
    if (a->class != b->class) return a->class < b->class ? -1 : 1;
    if (a->holder != b->holder) return a->holder < b->holder ? -1 : 1;
    if (a->kept != b->kept) return a->kept ? 1 : -1;
    if (a->score != b->score) return a->score < b->score ? -1 : 1;
    return a->unit < b->unit ? -1 : a->unit > b->unit;
}

/* Moves as many units as were counted. */
static inline bool tally_move(struct tally *tally, int32_t *owner) {
    const struct poll *poll = tally->poll;
    struct parting *partings = malloc(((size_t)poll->units + 1) * sizeof(*partings));
    size_t count = 0;
    if (!partings) return false;
    for (uint32_t unit = 0; unit < poll->units; unit++) {
        uint32_t class = poll->class[unit];
        size_t cell = (size_t)class * poll->candidates + (uint32_t)owner[unit];
        if (owner[unit] == NOBODY || tally->net[cell] >= 0 || !tally->is_top[cell]) continue;
        partings[count++] = (struct parting){
            .score = poll_score(poll, unit, (uint32_t)owner[unit]),
            .class = class,
            .holder = (uint32_t)owner[unit],
            .unit = unit,
            .kept = poll->holder[unit] == owner[unit],
        };
    }
    qsort(partings, count, sizeof(*partings), parting_order);
    for (size_t at = 0; at < count; at++) {
        int32_t *net = &tally->net[(size_t)partings[at].class * poll->candidates + partings[at].holder];
        if (*net < 0) owner[partings[at].unit] = MOVING, ++*net;
    }
    free(partings);
    for (uint32_t unit = 0; unit < poll->units; unit++) {
        if (owner[unit] != MOVING) continue;
        size_t row = (size_t)poll->class[unit] * poll->candidates;
        uint64_t best = 0;
        for (uint32_t at = 0; at < tally->tops[poll->class[unit]]; at++) {
            uint32_t each = tally->top[row + at];
            if (tally->net[row + each] <= 0) continue;
            uint64_t score = poll_score(poll, unit, each);
            if (owner[unit] == MOVING || score > best) owner[unit] = (int32_t)each, best = score;
        }
        tally->net[row + (uint32_t)owner[unit]]--;
    }
    return true;
}

/* Writes the owner of each unit, or NOBODY. Returns false if there is no memory. */
static inline bool poll_balanced(const struct poll *poll, int32_t *owner) {
    struct tally tally;
    bool done = tally_make(&tally, poll), moved = false;
    if (done) {
        for (uint32_t unit = 0; unit < poll->units; unit++) {
            int32_t holder = poll->holder[unit];
            bool kept = holder >= 0 && tally_keeps(&tally, poll->class[unit], (uint32_t)holder);
            owner[unit] = kept ? holder : NOBODY;
            if (kept) tally.load[holder]++;
        }
        for (uint32_t unit = 0; unit < poll->units; unit++) {
            uint32_t class = poll->class[unit];
            if (owner[unit] == NOBODY && tally.tops[class]) {
                owner[unit] = (int32_t)tally_place(&tally, unit);
                tally.load[owner[unit]]++;
            }
            size_t cell = (size_t)class * poll->candidates + (uint32_t)owner[unit];
            if (owner[unit] != NOBODY && tally.is_top[cell]) tally.movable[cell]++;
        }
        bool again;
        do {
            again = false;
            for (uint32_t class = 0; class < poll->classes; ++class) again |= tally_level(&tally, class);
            moved |= again;
        } while (again);
        if (moved) done = tally_move(&tally, owner);
    }
    tally_free(&tally);
    return done;
}

/* MetalLB's order: of each class's top, who has the lowest digest of its name and the unit; 32 bytes each, in one
 * column a candidate. Units whose holder is there stay. */
static inline bool poll_first(const struct poll *poll, const uint8_t *const *columns, int32_t *owner) {
    struct tally tally;
    bool done = tally_make(&tally, poll);
    for (uint32_t unit = 0; done && unit < poll->units; unit++) {
        uint32_t class = poll->class[unit], first = 0;
        owner[unit] = poll->holder[unit];
        if (owner[unit] != NOBODY && !poll->gone[owner[unit]]) continue;
        for (uint32_t at = 0; at < tally.tops[class]; at++) {
            uint32_t each = tally.top[(size_t)class * poll->candidates + at];
            if (!at || memcmp(&columns[each][32 * (size_t)unit], &columns[first][32 * (size_t)unit], 32) < 0)
                first = each;
        }
        owner[unit] = tally.tops[class] ? (int32_t)first : NOBODY;
    }
    tally_free(&tally);
    return done;
}

#endif
