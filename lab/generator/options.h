/* What the programs of this folder share: options as NAME=VALUE, a template made ready, and time. */
#ifndef LAB_OPTIONS_H
#define LAB_OPTIONS_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "craft.h"

static inline void fail(const char *attempted) {
    fprintf(stderr, "%s: %s\n", attempted, strerror(errno));
    exit(1);
}

/* The value of NAME=VALUE among the arguments, or NULL. */
static inline const char *option(char **argv, const char *name) {
    size_t length = strlen(name);
    for (char **word = argv + 1; *word; word++)
        if (!strncmp(*word, name, length) && (*word)[length] == '=') return *word + length + 1;
    return NULL;
}

static inline const char *required(char **argv, const char *name) {
    const char *value = option(argv, name);
    if (!value) {
        fprintf(stderr, "expected %s=…\n", name);
        exit(2);
    }
    return value;
}

static inline __u64 number(char **argv, const char *name, __u64 otherwise) {
    const char *value = option(argv, name);
    return value ? strtoull(value, NULL, 0) : otherwise;
}

static inline int interface_index(char **argv, const char *name) {
    const char *interface = required(argv, name);
    int index = if_nametoindex(interface);
    if (!index) fail(interface);
    return index;
}

static inline __u64 now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* From frame=HEX: the template, its length, and for an NS the sum of what stays as it is. */
static inline void prepare(struct settings *s, char **argv) {
    const char *hex = required(argv, "frame");
    unsigned length = strlen(hex) / 2, byte;
    if (length != ARP_LENGTH && length != NS_LENGTH) {
        fprintf(stderr, "expected a frame of %d or %d bytes, not %u\n", ARP_LENGTH, NS_LENGTH, length);
        exit(2);
    }
    for (unsigned at = 0; at < length && sscanf(hex + 2 * at, "%2x", &byte) == 1; at++) s->frame[at] = byte;
    s->version = length == ARP_LENGTH ? 4 : 6;
    s->first = s->version == 4 ? get32(s->frame + 38) : get64(s->frame + 70);
    s->mac = get32(s->frame + 8);
    s->address = get32(s->frame + (s->version == 4 ? 28 : 34));
    s->count = number(argv, "count", 1);
    s->stride = number(argv, "stride", 1);
    s->random = number(argv, "random", 0);
    s->sources = number(argv, "sources", 1);
    s->interval_ns = number(argv, "interval_ns", 0);
    s->polite_ns = number(argv, "polite_ns", 0);
    if (s->version == 6) {
        __u8 bare[NS_LENGTH];
        memcpy(bare, s->frame, NS_LENGTH);
        memset(bare + 34, 0, 4);
        memset(bare + 51, 0, 3);
        memset(bare + 56, 0, 2);
        memset(bare + 70, 0, 8);
        memset(bare + 82, 0, 4);
        __u32 sum = 58 + NS_LENGTH - 54; /* of the pseudo-header: next header and length; its addresses follow */
        for (unsigned at = 22; at < NS_LENGTH; at += 2) sum += bare[at] << 8 | bare[at + 1];
        s->sum = sum;
    }
}

static inline unsigned frame_length(const struct settings *s) {
    return s->version == 4 ? ARP_LENGTH : NS_LENGTH;
}

static inline void craft(__u8 *frame, const struct settings *s, __u64 target, __u32 source) {
    if (s->version == 4)
        craft4(frame, s, target, source);
    else
        craft6(frame, s, target, source);
}

/* A socket that sends on the interface past its queueing discipline, and hears `protocol` (host order; 0: nothing). */
static inline int packet_socket(int index, int protocol) {
    int file = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = index};
    if (file < 0 || setsockopt(file, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) ||
        bind(file, (struct sockaddr *)&address, sizeof address))
        fail("packet socket");
    return file;
}

#endif
