/* The question that the programs of this folder ask: from frame=HEX, made ready to be filled in for each target. */
#ifndef LAB_TEMPLATE_H
#define LAB_TEMPLATE_H

#include "../options.h"
#include "craft.h"

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

#endif
