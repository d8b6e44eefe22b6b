/* What the thread has to tell Python: a bounded ring of facts and the eventfd that says so.
 *
 * One producer (the thread), one consumer (whoever calls `Responder.facts`, one at a time). Frames cause facts, and
 * frames can be forged by the million, so three bounds stand between them and Python, all of constant memory:
 *   - the same thing said of the same address by the same MAC is told once in its kind's window, and of one address by
 *     at most FACT_VOICES MACs (a direct-mapped memory: two addresses in one place only repeat themselves);
 *   - each kind has a token bucket;
 *   - the ring keeps FACTS_RESERVED places for facts that no frame can cause.
 * What the last two refuse is counted in `lost`, and told the next time that it is said; what the first holds back is
 * no loss. Who probes must not conclude from silence that an address is free while `taken_lost` grew. Time is an
 * argument. */
#ifndef ARPFAST_FACTS_H
#define ARPFAST_FACTS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum fact_kind {
    FACT_CONFLICT,
    FACT_TAKEN,
    FACT_CONFIRMED,
    FACT_SOCKET_FAILED,
    FACT_ROOM,
    FACT_RIVAL,
    FACT_FROZEN,
    FACT_SILENT,
    FACT_SPOKE,
    FACT_SUSPENDED,
    FACT_RESUMED,
    FACT_INHERITED,
    FACT_KINDS
};

struct fact {
    uint64_t monotonic_ns;
    uint64_t span_ns; /* FROZEN: how long; of watches: since when nothing was heard, 0 if never was */
    uint32_t ifindex;
    int32_t error; /* SOCKET_FAILED: the errno; FROZEN: which one it is, from 1 on */
    uint8_t kind;
    uint8_t version;
    uint8_t mac[6];
    uint8_t address[16]; /* IPv4 in the first four */
};

enum {
    FACTS_SIZE = 4096,
    FACTS_RESERVED = 64,
    FACT_MEMORY = 1024,
    FACT_VOICES = 4,
};

#define FACT_SECOND_NS 1000000000ull

struct fact_memory {
    uint64_t since_ns;
    uint32_t ifindex;
    uint8_t kind; /* plus one: zeroed memory remembers nothing */
    uint8_t version;
    uint8_t voices;
    uint8_t mac[FACT_VOICES][6];
    uint8_t address[16];
};

struct fact_bucket {
    uint64_t filled_ns;
    uint32_t tokens;
};

/* TAKEN, CONFIRMED and RIVAL may come as fast as a whole pool is asked for or announced; a conflict is bad news, and
 * needs no more than a human or a state machine can take in. A probe must not go unheard because the one before it was
 * answered: the window of TAKEN is shorter than the time between two probes. */
static const struct {
    uint32_t per_s, burst;
    uint64_t window_ns;
} fact_rates[] = {
    [FACT_CONFLICT] = {1000, 512, FACT_SECOND_NS},
    [FACT_TAKEN] = {20000, 1536, FACT_SECOND_NS / 20},
    [FACT_CONFIRMED] = {20000, 1536, FACT_SECOND_NS},
    [FACT_RIVAL] = {20000, 1536, FACT_SECOND_NS},
};

struct facts {
    int wake; /* eventfd, readable while facts wait */
    _Alignas(64) uint32_t head;
    uint32_t told;             /* head at the last wake-up */
    uint64_t lost, taken_lost; /* the second is part of the first */
    _Alignas(64) uint32_t tail;
    uint32_t awake; /* whether `wake` has been written to since the consumer last looked */
    _Alignas(64) struct fact_bucket buckets[FACT_KINDS];
    struct fact ring[FACTS_SIZE];
    struct fact_memory memory[FACT_MEMORY];
};

static inline bool facts_open(struct facts *facts) {
    facts->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return facts->wake >= 0;
}

static inline void facts_lose(struct facts *facts, const struct fact *fact) {
    __atomic_store_n(&facts->lost, facts->lost + 1, __ATOMIC_RELAXED);
    if (fact->kind == FACT_TAKEN) __atomic_store_n(&facts->taken_lost, facts->taken_lost + 1, __ATOMIC_RELAXED);
}

/* Producer: whether a fact that no frame caused would be taken. */
static inline bool facts_room(const struct facts *facts) {
    return facts->head - __atomic_load_n(&facts->tail, __ATOMIC_ACQUIRE) < FACTS_SIZE;
}

/* Producer: queues, unless full. Does not wake anybody. */
static inline bool facts_put(struct facts *facts, const struct fact *fact, uint32_t reserved) {
    uint32_t tail = __atomic_load_n(&facts->tail, __ATOMIC_ACQUIRE);
    if (facts->head - tail >= FACTS_SIZE - reserved) {
        facts_lose(facts, fact);
        return false;
    }
    facts->ring[facts->head % FACTS_SIZE] = *fact;
    __atomic_store_n(&facts->head, facts->head + 1, __ATOMIC_RELEASE);
    return true;
}

/* Where it is remembered who said this of the address within the window; NULL if that is this MAC, or enough others. */
static inline struct fact_memory *fact_news(struct facts *facts, const struct fact *fact) {
    uint64_t low, high;
    memcpy(&low, fact->address, 8);
    memcpy(&high, fact->address + 8, 8);
    uint64_t hash =
        (low ^ (high * 0x9e3779b97f4a7c15ull) ^ fact->ifindex ^ ((uint64_t)fact->kind << 56)) * 0x9e3779b97f4a7c15ull;
    struct fact_memory *seen = &facts->memory[hash >> 54];
    _Static_assert(FACT_MEMORY == 1 << 10, "the hash above has ten bits");
    bool same = seen->kind == fact->kind + 1 && seen->version == fact->version && seen->ifindex == fact->ifindex &&
                memcmp(seen->address, fact->address, 16) == 0;
    if (!same || fact->monotonic_ns - seen->since_ns >= fact_rates[fact->kind].window_ns) {
        *seen = (struct fact_memory){.since_ns = fact->monotonic_ns,
                                     .ifindex = fact->ifindex,
                                     .kind = (uint8_t)(fact->kind + 1),
                                     .version = fact->version};
        memcpy(seen->address, fact->address, 16);
    }
    for (int i = 0; i < seen->voices; i++)
        if (memcmp(seen->mac[i], fact->mac, 6) == 0) return NULL;
    return seen->voices == FACT_VOICES ? NULL : seen;
}

static inline bool fact_affordable(struct facts *facts, const struct fact *fact) {
    struct fact_bucket *bucket = &facts->buckets[fact->kind];
    uint32_t per_s = fact_rates[fact->kind].per_s, burst = fact_rates[fact->kind].burst;
    uint64_t elapsed_ns = fact->monotonic_ns - bucket->filled_ns;
    if (bucket->filled_ns == 0 || elapsed_ns >= FACT_SECOND_NS * burst / per_s) {
        bucket->tokens = burst;
        bucket->filled_ns = fact->monotonic_ns;
    } else {
        uint64_t earned = elapsed_ns * per_s / FACT_SECOND_NS;
        bucket->tokens = bucket->tokens + earned > burst ? burst : (uint32_t)(bucket->tokens + earned);
        bucket->filled_ns += earned * FACT_SECOND_NS / per_s;
    }
    if (bucket->tokens == 0) return false;
    bucket->tokens--;
    return true;
}

/* Producer: a fact that a frame caused (CONFLICT, TAKEN, CONFIRMED, RIVAL). */
static inline void facts_heard(struct facts *facts, const struct fact *fact) {
    struct fact_memory *seen = fact_news(facts, fact);
    if (seen == NULL) return;
    if (!fact_affordable(facts, fact))
        facts_lose(facts, fact);
    else if (facts_put(facts, fact, FACTS_RESERVED))
        memcpy(seen->mac[seen->voices++], fact->mac, 6);
}

/* Producer, once a pass: wakes the consumer if there is news that it has not been woken for. */
static inline void facts_wake(struct facts *facts) {
    if (facts->head == facts->told) return;
    facts->told = facts->head;
    if (__atomic_exchange_n(&facts->awake, 1, __ATOMIC_SEQ_CST) == 0) eventfd_write(facts->wake, 1);
}

/* Consumer, before it takes: from here on new facts wake again, so none can be left behind unannounced. */
static inline void facts_listen(struct facts *facts) {
    eventfd_t ignored;
    eventfd_read(facts->wake, &ignored);
    __atomic_exchange_n(&facts->awake, 0, __ATOMIC_SEQ_CST);
}

/* Consumer: the oldest fact. */
static inline bool facts_take(struct facts *facts, struct fact *fact) {
    if (facts->tail == __atomic_load_n(&facts->head, __ATOMIC_ACQUIRE)) return false;
    *fact = facts->ring[facts->tail % FACTS_SIZE];
    __atomic_store_n(&facts->tail, facts->tail + 1, __ATOMIC_RELEASE);
    return true;
}

#endif
