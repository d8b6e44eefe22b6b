/*
 * One question out of many: the frame of a template, changed so that it asks for the n-th target from the k-th source.
 *
 * Compiled for the kernel (flood.bpf.c) and for user space (flood.c, lone.c), so that all generators ask the same. The
 * template is a whole, valid ARP request (60 bytes) or neighbour solicitation with a source link-layer option (86), for
 * which prepare() takes the sum of what does not change.
 */
#ifndef LAB_CRAFT_H
#define LAB_CRAFT_H

#include <linux/types.h>

#define ARP_LENGTH 60
#define NS_LENGTH  86
#define SLOTS      4096
#define SAMPLES    65536

struct settings {
    __u64 first;       /* target 0: the IPv4 address, or the low 64 bits of the IPv6 address */
    __u64 count;       /* how many targets */
    __u64 stride;      /* from one to the next */
    __u64 interval_ns; /* between two frames; 0: as fast as possible */
    __u64 polite_ns;   /* between two questions of the polite source; 0: there is none */
    __u32 version;     /* 4 or 6 */
    __u32 random;      /* targets in random order instead of one after the other */
    __u32 sources;     /* the polite one comes on top: its number is `sources` */
    __u32 sum;         /* of the template and its pseudo-header, without what changes */
    __u32 mac;         /* low 32 bits of source 0's MAC */
    __u32 address;     /* low 32 bits of source 0's IP address */
    __u8 frame[88];
};

struct state { /* written by the one CPU that generates */
    __u64 sent;
    __u64 next_ns;
    __u64 polite_sent;
    __u64 polite_last_ns;
};

struct counters {  /* one a CPU */
    __u64 arrived; /* frames at the answerer's end of the cable */
    __u64 arp;     /* ARP replies */
    __u64 na;      /* neighbour advertisements */
    __u64 wrong;   /* of those, about no target of ours */
    __u64 polite;  /* answers to the polite source */
};

struct polite_state {
    __u64 samples;
};

static inline __attribute__((always_inline)) void put16(__u8 *at, __u32 value) {
    at[0] = value >> 8;
    at[1] = value;
}

static inline __attribute__((always_inline)) void put32(__u8 *at, __u32 value) {
    put16(at, value >> 16);
    put16(at + 2, value);
}

static inline __attribute__((always_inline)) __u32 get32(const __u8 *at) {
    return (__u32)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static inline __attribute__((always_inline)) __u64 get64(const __u8 *at) {
    return (__u64)get32(at) << 32 | get32(at + 4);
}

static inline __attribute__((always_inline)) void craft4(__u8 *frame, const struct settings *s, __u64 target, __u32 k) {
    __builtin_memcpy(frame, s->frame, ARP_LENGTH);
    put32(frame + 8, s->mac + k);
    put32(frame + 24, s->mac + k);
    put32(frame + 28, s->address + k);
    put32(frame + 38, target);
}

static inline __attribute__((always_inline)) void craft6(__u8 *frame, const struct settings *s, __u64 target, __u32 k) {
    __u32 mac = s->mac + k, address = s->address + k, high = target >> 32, low = target;
    __builtin_memcpy(frame, s->frame, NS_LENGTH);
    frame[3] = low >> 16;
    put16(frame + 4, low);
    put32(frame + 8, mac);
    put32(frame + 34, address);
    frame[51] = low >> 16;
    put16(frame + 52, low);
    put32(frame + 70, high);
    put32(frame + 74, low);
    put32(frame + 82, mac);
    __u32 sum = s->sum + (mac >> 16) + (mac & 0xffff) + (address >> 16) + (address & 0xffff) + (low >> 16 & 0xff) +
                (low & 0xffff) + (high >> 16) + (high & 0xffff) + (low >> 16) + (low & 0xffff);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(frame + 56, ~sum);
}

/* Whether a frame of this length is an answer; about which target and for which source. */
enum answer_kind { ANSWER_NONE, ANSWER_ARP, ANSWER_NA };

static inline __attribute__((always_inline)) enum answer_kind read_answer(const __u8 *frame, const __u8 *end,
                                                                          __u64 *target) {
    if (frame + 42 > end) return ANSWER_NONE;
    if (frame[12] == 0x08 && frame[13] == 0x06 && frame[20] == 0 && frame[21] == 2) {
        *target = get32(frame + 28);
        return ANSWER_ARP;
    }
    if (frame[12] == 0x86 && frame[13] == 0xdd && frame + 78 <= end && frame[20] == 58 && frame[54] == 136) {
        *target = get64(frame + 70);
        return ANSWER_NA;
    }
    return ANSWER_NONE;
}

static inline __attribute__((always_inline)) int is_target(const struct settings *s, __u64 target) {
    __u64 offset = target - s->first;
    return s->stride == 1 ? offset < s->count : offset % s->stride == 0 && offset / s->stride < s->count;
}

#endif
