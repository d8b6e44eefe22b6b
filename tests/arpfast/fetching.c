/* What answer_prefetch() fetches of a table, and what answer() then reads of it, for test_fetching.py. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static uintptr_t fetched[64];
static unsigned fetched_count, unfetched;

static int cached(uintptr_t line) {
    for (unsigned i = 0; i < fetched_count; i++)
        if (fetched[i] == line) return 1;
    return 0;
}

static void fetch_line(const void *at) {
    fetched[fetched_count++ % 64] = (uintptr_t)at / 64;
}

static uint64_t read_word(const uint64_t *word) {
    unfetched += !cached((uintptr_t)word / 64);
    return *word;
}

#define __builtin_prefetch(at)  fetch_line(at)
#define TABLE_READ(record, nth) read_word(&(record)[nth])
#include "answer.h"

/* How many words of the table answer() reads that were not fetched before, the header's not counted. */
unsigned fetching_missed(const void *words, size_t size, const uint8_t *request, uint32_t length) {
    struct table *table = aligned_alloc(64, (size + 63) / 64 * 64);
    struct link link = {.mac = {2, 0, 0, 0, 0, 1}};
    struct outcome outcome;
    uint8_t frame[FRAME_ROOM];
    memcpy(table, words, size);
    memcpy(frame, request, length);
    fetched_count = 0;
    fetch_line(table);
    answer_prefetch(table, frame, length, FETCH_SLOT);
    answer_prefetch(table, frame, length, FETCH_BLOCK);
    unfetched = 0;
    enum verdict verdict = answer(table, &link, frame, length, sizeof frame, &outcome);
    free(table);
    return verdict == VERDICT_REPLY ? unfetched : UINT32_MAX;
}
