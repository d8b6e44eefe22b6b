/* Who asked lately: hosts that have an address of ours in their cache, and should be told when it moves. Another
 * direct-mapped memory of constant size, like asked.h, by asker instead of by address: two in one place forget each
 * other. The thread writes an entry at most once a second for each asker, so a flood of questions costs a look. */
#ifndef ARPFAST_ASKERS_H
#define ARPFAST_ASKERS_H

#include "asked.h"

#define ASKERS_FRESH_NS 1000000000u

/* Here an asker's address is his own. */
struct askers {
    struct asked_entry entries[ASKERS_SIZE];
};

static inline struct asked_entry *askers_place(struct askers *askers, const struct asker *asker) {
    uint64_t high, low;
    memcpy(&high, asker->address, 8);
    memcpy(&low, asker->address + 8, 8);
    return &askers->entries[askers_index(mac_number(asker->mac), asker->ifindex, high, low)];
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
