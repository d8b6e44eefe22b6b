/* The hardware addresses of the other members of our ring: a set that is built once and then only read.
 *
 * A member's claim to an address of ours is settled between members, so it is no conflict; its questions are how it
 * watches us, so they are never too many. The set is asked for every reply, hence a hash table at half load at most. */
#ifndef ARPFAST_MEMBERS_H
#define ARPFAST_MEMBERS_H

#include "frames.h"

enum { MEMBERS_MAX = 4096 };

struct members {
    uint32_t mask;   /* slots - 1; a power of two of them */
    uint64_t slot[]; /* mac_number(), 0: empty */
};

static inline uint32_t members_slots(uint32_t count) {
    uint32_t slots = 2;
    while (slots < 2 * count) slots *= 2;
    return slots;
}

/* The slot where `mac` is, or would be. */
static inline uint32_t members_place(const struct members *members, uint64_t mac) {
    uint64_t hash = mac * 0x9e3779b97f4a7c15u;
    uint32_t at = (uint32_t)(hash >> 32) & members->mask;
    while (members->slot[at] && members->slot[at] != mac) at = (at + 1) & members->mask;
    return at;
}

/* `members` is zeroed but for its mask, and has members_slots() of all that will be added. */
static inline void members_add(struct members *members, const uint8_t mac[6]) {
    uint64_t number = mac_number(mac);
    members->slot[members_place(members, number)] = number;
}

/* The kernel's programs have a map of their own for it. */
#ifndef MEMBERS_HOLD
#define MEMBERS_HOLD(members, number) ((members) && (members)->slot[members_place(members, number)] == (number))
#endif

/* Whether `mac` is a member's; nobody is without a set. */
static inline int members_have(const struct members *members, const uint8_t mac[6]) {
    uint64_t number = mac_number(mac);
    return number && MEMBERS_HOLD(members, number);
}

#endif
