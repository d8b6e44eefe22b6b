/* Who asked lately: hosts that have an address of ours in their cache, and should be told when it moves. Another
 * direct-mapped memory of constant size, like asked.h, by asker instead of by address: two in one place forget each
 * other. The thread writes an entry at most once a second for each asker, so a flood of questions costs a look. */
#ifndef ARPFAST_ASKERS_H
#define ARPFAST_ASKERS_H

#include "asked.h"

enum { ASKERS_BITS = 10, ASKERS_SIZE = 1 << ASKERS_BITS };

#define ASKERS_FRESH_NS 1000000000u

/* Here an asker's address is his own. */
struct askers {
    struct asked_entry entries[ASKERS_SIZE];
};

static inline struct asked_entry *askers_place(struct askers *askers, const struct asker *asker) {
    uint64_t mac = 0, high, low;
    memcpy(&mac, asker->mac, 6);
    memcpy(&high, asker->address, 8);
    memcpy(&low, asker->address + 8, 8);
    uint64_t hash = (mac ^ high) * 0x9e3779b97f4a7c15ull;
    hash = ((hash ^ hash >> 32) + low + asker->ifindex) * 0x9e3779b97f4a7c15ull;
    return &askers->entries[hash >> (64 - ASKERS_BITS)];
}

static inline bool asker_same(const struct asker *one, const struct asker *other) {
    return one->version == other->version && one->ifindex == other->ifindex && memcmp(one->mac, other->mac, 6) == 0 &&
           memcmp(one->address, other->address, 16) == 0;
}

/* The thread: remembers. */
static inline void askers_note(struct askers *askers, const struct asker *asker) {
    struct asked_entry *entry = askers_place(askers, asker);
    if (asker->monotonic_ns - entry->asker.monotonic_ns < ASKERS_FRESH_NS && asker_same(&entry->asker, asker)) return;
    asked_write(entry, asker);
}

/* Anybody: the asker in one of the ASKERS_SIZE places; false if there is none. */
static inline bool askers_read(const struct askers *askers, uint32_t place, struct asker *asker) {
    return asked_read(&askers->entries[place], asker) && asker->version != 0;
}

#endif
