/* Builds the block of words that table.h reads. User space only: it allocates, and counts in 128 bits.
 *
 * Input are sorted, disjoint intervals, one list a kind; nothing walks the addresses in between, so ::/0 costs what a
 * single address costs. Three passes: *overlay* the lists into pieces of one kind each; add them to the outline, and
 * cut them at block boundaries into wide ranges and ranges within a block; lay out. The slots are filled in the order
 * of their homes, each key at its home or behind the one before: what Robin Hood hashing would end with, so that at
 * half load the furthest of a million keys lies some 12 slots from home. Should one lie beyond TABLE_PROBES, the next
 * seed and more slots do. */
#ifndef ARPFAST_BUILD_H
#define ARPFAST_BUILD_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "table.h"

/* From first to last, both included; an IPv4 address is a number below 2^32. */
struct interval {
    uint64_t first_high, first_low, last_high, last_low;
};

struct intervals {
    const struct interval *at; /* sorted, disjoint */
    size_t count;
};

typedef unsigned __int128 build_address;

struct build_range {
    uint64_t high, low, range; /* the block's key, and the word for it */
};

struct build_wide {
    uint64_t first_high, first_low, last_high, last_low;
};

struct build_stretch {
    build_address first, last;
    uint32_t kind; /* or OUTLINE_LOOK */
};

/* Of one family. There is room for one stretch too many, which is then joined with another. */
struct build_outline {
    struct build_stretch at[OUTLINE_STRETCHES + 1];
    size_t count;
};

struct build {
    struct build_range *ranges;
    struct build_wide *wides;
    struct build_outline outline4, outline6;
    size_t range_count, range_room, wide_count, wide_room;
    uint64_t mark; /* TABLE_IPV4, or 0 */
    int failed;
};

static inline build_address build_number(uint64_t high, uint64_t low) {
    return (build_address)high << 64 | low;
}

/* Makes room for one more of `size` bytes; doubling keeps this linear. */
static inline void *build_grow(struct build *build, void *array, size_t count, size_t *room, size_t size) {
    if (count < *room) return array;
    size_t wanted = *room ? *room * 2 : 64;
    void *grown = realloc(array, wanted * size);
    if (!grown) {
        build->failed = 1;
        return array;
    }
    *room = wanted;
    return grown;
}

static inline void build_range(struct build *build, build_address first, build_address last, enum kind kind) {
    build->ranges =
        build_grow(build, build->ranges, build->range_count, &build->range_room, sizeof(struct build_range));
    if (build->failed) return;
    build->ranges[build->range_count++] = (struct build_range){
        .high = (uint64_t)(first >> 64),
        .low = build->mark | (uint64_t)first >> 16,
        .range = range_word((uint64_t)first & 0xffff, (uint64_t)last & 0xffff, kind),
    };
}

/* Whole blocks; both arguments are addresses in the first and in the last of them. */
static inline void build_wide(struct build *build, build_address first, build_address last, enum kind kind) {
    build->wides = build_grow(build, build->wides, build->wide_count, &build->wide_room, sizeof(struct build_wide));
    if (build->failed) return;
    build->wides[build->wide_count++] = (struct build_wide){
        .first_high = (uint64_t)(first >> 64),
        .first_low = build->mark | (uint64_t)first >> 16,
        .last_high = (uint64_t)(last >> 64),
        .last_low = (build->mark | (uint64_t)last >> 16) << 2 | kind,
    };
}

static inline void build_piece(struct build *build, build_address first, build_address last, enum kind kind) {
    if (first & 0xffff) {
        build_address end = first | 0xffff;
        build_range(build, first, end < last ? end : last, kind);
        if (last <= end) return;
        first = end + 1;
    }
    build_address tail = last & ~(build_address)0xffff;
    if ((last & 0xffff) == 0xffff) {
        build_wide(build, first, last, kind);
        return;
    }
    if (first < tail) build_wide(build, first, tail - 1, kind);
    build_range(build, tail, last, kind);
}

/* Adds a piece, which lies behind all others. Of stretches that are too many, the two with the least between them
 * become one that has to be looked into. */
static inline void build_outline(struct build_outline *outline, build_address first, build_address last,
                                 enum kind kind) {
    struct build_stretch *at = outline->at, *before = outline->count ? &at[outline->count - 1] : NULL;
    if (before && before->kind == kind && first - before->last == 1) {
        before->last = last; /* lists may be of touching intervals */
        return;
    }
    at[outline->count++] = (struct build_stretch){first, last, kind};
    if (outline->count <= OUTLINE_STRETCHES) return;
    size_t nearest = 1;
    for (size_t i = 2; i < outline->count; i++)
        if (at[i].first - at[i - 1].last < at[nearest].first - at[nearest - 1].last) nearest = i;
    at[nearest - 1].last = at[nearest].last;
    at[nearest - 1].kind = OUTLINE_LOOK;
    outline->count--;
    memmove(&at[nearest], &at[nearest + 1], (outline->count - nearest) * sizeof *at);
}

/* One sweep over the three lists: each piece is of the strongest kind that covers where it begins, and ends where that
 * interval does or where a stronger one begins. */
static inline void build_overlay(struct build *build, const struct intervals lists[4]) {
    static const enum kind strongest_first[3] = {KIND_TENTATIVE, KIND_OWN, KIND_PROXY};
    size_t next[3] = {0, 0, 0};
    build_address at = 0;
    while (!build->failed) {
        build_address end = ~(build_address)0; /* of the piece, or of the gap before the next one */
        enum kind kind = KIND_NONE;
        int more = 0;
        for (int i = 0; i < 3 && kind == KIND_NONE; i++) {
            const struct intervals *list = &lists[strongest_first[i]];
            while (next[i] < list->count && build_number(list->at[next[i]].last_high, list->at[next[i]].last_low) < at)
                next[i]++;
            if (next[i] == list->count) continue;
            const struct interval *interval = &list->at[next[i]];
            build_address first = build_number(interval->first_high, interval->first_low);
            build_address last = build_number(interval->last_high, interval->last_low);
            more = 1;
            if (first <= at) {
                kind = strongest_first[i];
                if (last < end) end = last;
            } else if (first - 1 < end) {
                end = first - 1;
            }
        }
        if (!more) return;
        if (kind != KIND_NONE) {
            build_piece(build, at, end, kind);
            build_outline(build->mark ? &build->outline4 : &build->outline6, at, end, kind);
        }
        if (end == ~(build_address)0) return;
        at = end + 1;
    }
}

/* How many ranges from `from` on lie in the same block. */
static inline size_t build_same_block(const struct build *build, size_t from) {
    const struct build_range *range = &build->ranges[from];
    size_t to = from + 1;
    while (to < build->range_count && build->ranges[to].high == range->high && build->ranges[to].low == range->low)
        to++;
    return to - from;
}

static inline void build_bitmap(uint64_t *bitmap, uint64_t range) {
    uint64_t kinds = (uint64_t)range_kind(range) * 0x5555555555555555u;
    uint32_t first = range_first(range), last = range_last(range);
    for (uint32_t word = first >> 5; word <= last >> 5; word++) {
        uint32_t from = word == first >> 5 ? first & 31 : 0, to = word == last >> 5 ? last & 31 : 31;
        bitmap[word] |= kinds & (~0ull >> (63 - (to - from) * 2 - 1)) << from * 2;
    }
}

/* How much the ranges of one block take: nothing if it is one, which lies in the block's own word. */
static inline size_t build_detail_words(size_t ranges) {
    return ranges == 1 ? 0 : ranges <= TABLE_RANGES ? ranges : TABLE_BITMAP_WORDS;
}

/* Writes the ranges of a block at `start` and returns the block's word. */
static inline uint64_t build_block(const struct build_range *ranges, size_t count, uint64_t *word, uint64_t start) {
    if (count == 1) return ranges->range;
    if (count > TABLE_RANGES) {
        memset(&word[start], 0, TABLE_BITMAP_WORDS * sizeof *word);
        for (size_t i = 0; i < count; i++) build_bitmap(&word[start], ranges[i].range);
        return block_word(BLOCK_BITMAP, 0, start);
    }
    for (size_t i = 0; i < count; i++) word[start + i] = ranges[i].range;
    return block_word(BLOCK_RANGES, (uint32_t)count, start);
}

/* A block, ready for its slot. Its words are those of the slot. */
struct build_slot {
    uint64_t high, low, block, none;
};

_Static_assert(sizeof(struct build_slot) == TABLE_SLOT_WORDS * sizeof(uint64_t), "a slot's words");

/* Fills the slots, which are all zero, in the order of the blocks' homes. `sorted` has room for `count` blocks and
 * `starts` for one number more than there are slots. Returns whether each block lies within TABLE_PROBES of its home.
 */
static inline int build_slots(struct build_slot *slots, uint64_t slot_count, uint64_t seed,
                              const struct build_slot *blocks, size_t count, struct build_slot *sorted,
                              uint32_t *starts) {
    memset(starts, 0, (slot_count + 1) * sizeof *starts);
    for (size_t i = 0; i < count; i++) starts[table_home(blocks[i].high, blocks[i].low, seed, slot_count) + 1]++;
    for (uint64_t home = 0; home < slot_count; home++) starts[home + 1] += starts[home];
    for (size_t i = 0; i < count; i++)
        sorted[starts[table_home(blocks[i].high, blocks[i].low, seed, slot_count)]++] = blocks[i];
    uint64_t next = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t home = table_home(sorted[i].high, sorted[i].low, seed, slot_count);
        if (next < home) next = home;
        if (next - home >= TABLE_PROBES) return 0;
        slots[next++] = sorted[i];
    }
    return 1;
}

/* Memory for so many words. Big tables ask for huge pages: a look-up in scattered addresses then misses the cache at
 * most, and not the page tables too. */
static inline struct table *build_memory(uint64_t words) {
    const size_t huge = 2 << 20;
    size_t size = words * sizeof(uint64_t);
    if (words >> 32) return NULL;
    if (size < huge) return malloc(size);
    size = (size + huge - 1) / huge * huge;
    void *memory = aligned_alloc(huge, size);
    if (memory) madvise(memory, size, MADV_HUGEPAGE); /* a kernel without them does as well */
    return memory;
}

/* Copies a table that is complete but for its slots, and appends these. NULL if memory is short. */
static inline struct table *build_hash(const struct table *unhashed, const struct build_slot *blocks, size_t count) {
    uint64_t start = unhashed->word[TABLE_WORDS], slots = count * 2, seed = 0x243f6a8885a308d3u;
    struct build_slot *sorted = malloc(count * sizeof *sorted);
    for (int placed = 0; sorted && !placed; seed = seed * 0x9e3779b97f4a7c15u + 1, slots += slots / 16 + 1) {
        uint64_t words = start + (slots + TABLE_PROBES - 1) * TABLE_SLOT_WORDS;
        uint32_t *starts = malloc((slots + 1) * sizeof *starts);
        struct table *table = build_memory(words);
        if (!table || !starts) {
            free(table);
            free(starts);
            break;
        }
        memcpy(table->word, unhashed->word, start * sizeof(uint64_t));
        memset(&table->word[start], 0, (words - start) * sizeof(uint64_t));
        table->word[TABLE_WORDS] = words;
        table->word[TABLE_SLOTS] = start;
        table->word[TABLE_SLOTS_COUNT] = slots;
        table->word[TABLE_SEED] = seed;
        placed = build_slots((struct build_slot *)&table->word[start], slots, seed, blocks, count, sorted, starts);
        free(starts);
        if (placed) {
            free(sorted);
            return table;
        }
        free(table);
    }
    free(sorted);
    return NULL;
}

static inline void build_outline_words(const struct build *build, uint64_t *words) {
    for (size_t i = 0; i < build->outline4.count; i++) {
        const struct build_stretch *stretch = &build->outline4.at[i];
        words[OUTLINE_KINDS] |= (uint64_t)stretch->kind << 8 * i;
        words[OUTLINE_IPV4 + i] = (uint64_t)stretch->first | (uint64_t)(stretch->last - stretch->first) << 32;
    }
    for (size_t i = 0; i < build->outline6.count; i++) {
        const struct build_stretch *stretch = &build->outline6.at[i];
        words[OUTLINE_KINDS] |= (uint64_t)stretch->kind << (32 + 8 * i);
        uint64_t *at = &words[OUTLINE_IPV6 + 4 * i];
        at[0] = (uint64_t)(stretch->first >> 64);
        at[1] = (uint64_t)stretch->first;
        at[2] = (uint64_t)(stretch->last >> 64);
        at[3] = (uint64_t)stretch->last;
    }
}

/* Lays out what the sweeps collected; `wide4` of the wide ranges are IPv4's. NULL if memory is short. */
static inline struct table *build_layout(const struct build *build, size_t wide4) {
    size_t blocks = 0, details = 0, wide_words = build->wide_count * TABLE_WIDE_WORDS;
    for (size_t at = 0, same; at < build->range_count; at += same) {
        same = build_same_block(build, at);
        details += build_detail_words(same);
        blocks++;
    }
    details = (details + TABLE_SLOT_WORDS - 1) / TABLE_SLOT_WORDS * TABLE_SLOT_WORDS; /* where a slot may begin */
    uint64_t words = TABLE_HEADER + wide_words + details;
    struct table *table = build_memory(words);
    struct build_slot *slots = malloc((blocks + 1) * sizeof *slots);
    if (!table || !slots) {
        free(table);
        free(slots);
        return NULL;
    }
    memset(table->word, 0, TABLE_HEADER * sizeof(uint64_t));
    table->word[TABLE_WORDS] = words;
    table->word[TABLE_WIDE4] = TABLE_HEADER;
    table->word[TABLE_WIDE4_COUNT] = wide4;
    table->word[TABLE_WIDE6] = TABLE_HEADER + wide4 * TABLE_WIDE_WORDS;
    table->word[TABLE_WIDE6_COUNT] = build->wide_count - wide4;
    build_outline_words(build, &table->word[TABLE_OUTLINE]);
    if (wide_words) memcpy(&table->word[TABLE_HEADER], build->wides, wide_words * sizeof(uint64_t));
    uint64_t detail = TABLE_HEADER + wide_words;
    size_t block = 0;
    for (size_t at = 0, same; at < build->range_count; at += same) {
        const struct build_range *range = &build->ranges[at];
        same = build_same_block(build, at);
        slots[block++] = (struct build_slot){range->high, range->low, build_block(range, same, table->word, detail), 0};
        detail += build_detail_words(same);
    }
    while (detail < words) table->word[detail++] = 0;
    struct table *hashed = blocks ? build_hash(table, slots, blocks) : table;
    if (hashed != table) free(table);
    free(slots);
    return hashed;
}

/* Builds the table of these intervals, indexed by kind (KIND_NONE is not looked at); TABLE_WORDS is its size, free()
 * frees it. NULL if memory is short. */
static inline struct table *table_build(const struct intervals ipv4[4], const struct intervals ipv6[4]) {
    struct build build = {.mark = TABLE_IPV4};
    build_overlay(&build, ipv4);
    size_t wide4 = build.wide_count;
    build.mark = 0;
    build_overlay(&build, ipv6);
    struct table *table = build.failed ? NULL : build_layout(&build, wide4);
    free(build.ranges);
    free(build.wides);
    return table;
}

#endif
