/* What answer() costs by itself: nanoseconds a frame, by number and spread of the addresses in the table.
 *
 *     answer FAMILY SPREAD ADDRESSES [FRAMES]
 *
 * FAMILY is 4 or 6, SPREAD contiguous or scattered. Prints one number: the least of seven rounds, each over FRAMES
 * requests (a million) for addresses of the table in random order; the time of copying a request into place and of
 * drawing the next target, measured alike without answer(), is taken off. The table is fetched some frames ahead, as
 * whoever has a batch of frames does. Processor time, not wall time: other load does not count, but for the caches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "answer.h"
#include "build.h"
#include "messages.h"

static uint64_t state = 88172645463325252u;

static uint64_t draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

static int by_address(const void *a, const void *b) {
    const struct interval *x = a, *y = b;
    if (x->first_high != y->first_high) return x->first_high < y->first_high ? -1 : 1;
    return x->first_low < y->first_low ? -1 : x->first_low > y->first_low;
}

/* `count` single addresses, sorted, each once; returns how many they are. */
static size_t fill(struct interval *at, size_t count, int family, int scattered) {
    for (size_t i = 0; i < count; i++) {
        uint64_t high = family == 6 ? 0x20010db800000000u : 0, low = (family == 6 ? 0 : 0x0a000000u) + i;
        if (scattered) {
            high = family == 6 ? 0x2000000000000000u | draw() >> 3 : 0;
            low = family == 6 ? draw() : 0x01000000u + draw() % 0x7dffffff;
        }
        at[i] = (struct interval){high, low, high, low};
    }
    qsort(at, count, sizeof *at, by_address);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || by_address(&at[kept - 1], &at[i]) != 0) at[kept++] = at[i];
    return kept;
}

enum { AHEAD = 16 };
static volatile uint32_t replies;

static double spend(const struct table *table, const struct link *link, const uint8_t (*frames)[128],
                    const uint32_t *lengths, size_t frame_count, int answering) {
    uint8_t buffer[128];
    struct outcome outcome;
    uint32_t replied = 0;
    double began = now_ns();
    for (size_t i = 0; i < frame_count; i++) {
        memcpy(buffer, frames[i], sizeof buffer);
        __asm__ volatile("" : : "r"(buffer) : "memory");
        if (answering && i + AHEAD < frame_count) {
            answer_prefetch(table, frames[i + AHEAD], lengths[i + AHEAD], FETCH_SLOT);
            answer_prefetch(table, frames[i + AHEAD / 2], lengths[i + AHEAD / 2], FETCH_BLOCK);
        }
        if (answering) replied += answer(table, link, buffer, lengths[i], sizeof buffer, &outcome) == VERDICT_REPLY;
        __asm__ volatile("" : : "r"(buffer) : "memory");
    }
    replies = replied;
    return (now_ns() - began) / (double)frame_count;
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: answer 4|6 contiguous|scattered ADDRESSES [FRAMES]\n"), 2;
    int family = atoi(argv[1]), scattered = argv[2][0] == 's';
    size_t count = strtoull(argv[3], NULL, 10), frame_count = argc > 4 ? strtoull(argv[4], NULL, 10) : 1000000;
    struct interval *addresses = malloc(count * sizeof *addresses);
    uint8_t (*frames)[128] = calloc(frame_count, sizeof *frames);
    uint32_t *lengths = malloc(frame_count * sizeof *lengths);
    if (!addresses || !frames || !lengths) return 1;
    count = fill(addresses, count, family, scattered);
    struct intervals none[4] = {{0}}, own[4] = {[KIND_OWN] = {addresses, count}};
    struct table *table = table_build(family == 4 ? own : none, family == 4 ? none : own);
    struct link link = {.mac = {2, 0, 0, 0, 0, 1}}, asker = {.mac = {2, 0, 0, 0, 0, 0x99}};
    static const uint8_t from4[4] = {198, 51, 100, 1}, from6[16] = {0xfe, 0x80, [15] = 0x99};
    for (size_t i = 0; i < frame_count; i++) {
        const struct interval *target = &addresses[draw() % count];
        uint32_t target4 = net32((uint32_t)target->first_low);
        uint64_t target6[2] = {net64(target->first_high), net64(target->first_low)};
        lengths[i] = family == 4 ? message_ask4(frames[i], &asker, from4, (uint8_t *)&target4)
                                 : message_ask6(frames[i], &asker, from6, (uint8_t *)target6);
    }
    double best = 1e9;
    for (int round = 0; round < 7; round++) {
        double idle = spend(table, &link, frames, lengths, frame_count, 0);
        double spent = spend(table, &link, frames, lengths, frame_count, 1) - idle;
        if (replies != frame_count) return fprintf(stderr, "answer: %u of %zu replied\n", replies, frame_count), 1;
        if (spent < best) best = spent;
    }
    printf("%.1f\n", best);
    free(table);
    free(addresses);
    free(frames);
    free(lengths);
    return 0;
}
