/* Who asked last, for as many addresses as fit: a direct-mapped memory of constant size.
 *
 * The thread writes an entry for each reply; Python reads one when a person asks (`arpfast explain`). A sequence number
 * that is odd while an entry is being written lets the reader see a torn one and try again: the writer never waits.
 * Two addresses in one place forget each other, so a missing entry means nothing. */
#ifndef ARPFAST_ASKED_H
#define ARPFAST_ASKED_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "places.h"

struct asker {
    uint64_t monotonic_ns;
    uint32_t ifindex;
    uint8_t version; /* 0: nobody */
    uint8_t mac[6];
    uint8_t address[16]; /* ours, that was asked for; IPv4 in the first four, zeros behind */
};

struct asked_entry {
    uint32_t sequence;
    struct asker asker;
};

struct asked {
    struct asked_entry entries[ASKED_SIZE];
};

static inline struct asked_entry *asked_place(struct asked *asked, uint8_t version, const uint8_t address[16]) {
    return &asked->entries[asked_index(version, address)];
}

/* The thread. */
static inline void asked_write(struct asked_entry *entry, const struct asker *asker) {
    uint32_t sequence = entry->sequence;
    __atomic_store_n(&entry->sequence, sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    entry->asker = *asker;
    __atomic_store_n(&entry->sequence, sequence + 2, __ATOMIC_RELEASE);
}

/* Anybody. Gives up after many torn reads: then the entry is written faster than it can be looked at, and the next call
 * will do. */
static inline bool asked_read(const struct asked_entry *entry, struct asker *asker) {
    for (int attempt = 0; attempt < 1000; attempt++) {
        uint32_t before = __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE);
        *asker = entry->asker;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (before % 2 == 0 && before == __atomic_load_n(&entry->sequence, __ATOMIC_RELAXED)) return true;
    }
    return false;
}

/* The thread: remembers. */
static inline void asked_note(struct asked *asked, const struct asker *asker) {
    asked_write(asked_place(asked, asker->version, asker->address), asker);
}

/* Anybody: whether someone is remembered to have asked for `address`; if so, fills `asker`. */
static inline bool asked_find(struct asked *asked, uint8_t version, const uint8_t address[16], struct asker *asker) {
    return asked_read(asked_place(asked, version, address), asker) && asker->version == version &&
           memcmp(asker->address, address, 16) == 0;
}

#endif
