/* Where asked.h and askers.h, and the kernel's own such memories (bpf/recent.h), keep whom and what. */
#ifndef ARPFAST_PLACES_H
#define ARPFAST_PLACES_H

#include "frames.h"

enum { ASKED_BITS = 12, ASKED_SIZE = 1 << ASKED_BITS };
enum { ASKERS_BITS = 10, ASKERS_SIZE = 1 << ASKERS_BITS };

/* Neighbouring addresses get neighbouring places: a pool up to the memory's size has no collisions. An IPv4 address
 * lies in the first four bytes. */
static inline uint32_t asked_index(uint8_t version, const uint8_t address[16]) {
    uint64_t high = load64(address) ^ (uint64_t)load32(address + 8) << 16;
    uint32_t low = net32(load32(address + 12)), ipv4 = net32(load32(address));
    if (version == 4) {
        high = 0;
        low = ipv4;
    }
    uint64_t salt = (high + version + (low >> ASKED_BITS)) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(low + (salt >> (64 - ASKED_BITS))) % ASKED_SIZE;
}

/* By the asker's own two addresses. */
static inline uint32_t askers_index(uint64_t mac, uint32_t ifindex, uint64_t high, uint64_t low) {
    uint64_t hash = (mac ^ high) * 0x9e3779b97f4a7c15ull;
    hash = ((hash ^ hash >> 32) + low + ifindex) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(hash >> (64 - ASKERS_BITS));
}

#endif
