/* Which addresses we answer for, as one block of 64-bit words that is built once and only read (build.h makes it).
 *
 * Nothing in it is a pointer, and everything is read through TABLE_AT and TABLE_READ: the same bytes can lie in
 * the pages of a BPF array map and be read by the same code (define TABLE_AT before including this; no record
 * crosses a page of a power of two of words). A *block* is the 65 536 addresses that share
 * all but their last 16 bits: a /16 of IPv4, a /112 of IPv6. Blocks that are ours throughout lie in a sorted array of
 * *wide* ranges, so a /12, a /64 or ::/0 is one entry and contiguous pools cost next to nothing. Each other block that
 * holds any address of ours has a slot in one hash table for both families:
 *
 *     header, outline | wide ranges of IPv4 | of IPv6 | ranges and bitmaps of blocks | slots: key, key, block, 0
 *
 *     outline  of each family, at most four stretches that hold all there is: of one kind, or to be looked into
 *     block    ONE range | RANGES, sorted, searched in at most 9 steps | BITMAP, 2 bits an address, beyond 320 ranges
 *     range    first and last offset in the block, and the kind
 *     wide     first key (2 words), last key (2 words, the kind in the lowest bits)
 *
 * Most tables are a few pools, and most senders are strangers to them: the outline knows both without a search. What it
 * has to look into costs one or two cache lines however many addresses there are: the slots lie at half load, a key
 * never further than TABLE_PROBES from its home (the builder sees to both). Scattered addresses take some 64 bytes
 * each. Only the search among wide ranges grows, with the logarithm of their number.
 *
 * Any number of threads may read a table. Who replaces one waits until no reader holds the old. */
#ifndef ARPFAST_TABLE_H
#define ARPFAST_TABLE_H

#include <stddef.h>

#include "frames.h"

/* What an address is to us. Where two overlap, TENTATIVE hides OWN, and OWN hides PROXY. */
enum kind {
    KIND_NONE,
    KIND_OWN,      /* ours: advertised with the override flag, defended */
    KIND_PROXY,    /* in a prefix that we answer for on behalf of others */
    KIND_TENTATIVE /* being probed before first use: watched, never answered */
};

struct table {
    uint64_t word[1]; /* as many as TABLE_WORDS says */
};

/* A *record* of so many words lies at a multiple of them: the header, a wide range, a slot, or a single word of a
 * block's ranges or bitmap. TABLE_AT is NULL only in the kernel, for what no table refers to. */
#ifndef TABLE_AT
#define TABLE_AT(table, index, words) (&(table)->word[index])
#endif
#ifndef TABLE_READ
#define TABLE_READ(record, nth) ((record)[nth])
#endif

/* The header. Places and counts; TABLE_SLOTS_COUNT leaves out the TABLE_PROBES - 1 slots that only take overhang. The
 * outline is read by itself as well: its own places are told from where it begins. */
enum {
    TABLE_WORDS,
    TABLE_WIDE4,
    TABLE_WIDE4_COUNT,
    TABLE_WIDE6,
    TABLE_WIDE6_COUNT,
    TABLE_SLOTS,
    TABLE_SLOTS_COUNT,
    TABLE_SEED,
    TABLE_OUTLINE,
    TABLE_HEADER = 32
};
enum {
    OUTLINE_KINDS,    /* a byte a stretch, IPv4's first: `enum kind`, or OUTLINE_LOOK; 0 behind the last */
    OUTLINE_SLOT,     /* in the kernel: where the rest of the table lies */
    OUTLINE_IPV4 = 4, /* a word a stretch: its first address, and at bit 32 how many follow */
    OUTLINE_IPV6 = 8, /* four words: first and last address */
    OUTLINE_WORDS = 24,
    OUTLINE_STRETCHES = 4,
    OUTLINE_LOOK = 4 /* the table knows */
};
_Static_assert(TABLE_OUTLINE + OUTLINE_WORDS == TABLE_HEADER, "the header ends with the outline");
enum { TABLE_SLOT_WORDS = 4, TABLE_WIDE_WORDS = 4, TABLE_BITMAP_WORDS = 65536 / 32 };
enum { TABLE_PROBES = 16, TABLE_RANGES = 320 };

/* The low two bits of a block's word; 0 is an empty slot. */
enum { BLOCK_ONE = 1, BLOCK_RANGES = 2, BLOCK_BITMAP = 3 };

/* The second key word of IPv4 blocks is marked, so that both families share the slots. */
#define TABLE_IPV4 (1ull << 48)

static inline uint64_t range_word(uint32_t first, uint32_t last, enum kind kind) {
    return BLOCK_ONE | (uint64_t)kind << 2 | (uint64_t)first << 16 | (uint64_t)last << 32;
}

static inline uint32_t range_first(uint64_t range) {
    return range >> 16 & 0xffff;
}
static inline uint32_t range_last(uint64_t range) {
    return range >> 32 & 0xffff;
}
static inline enum kind range_kind(uint64_t range) {
    return (enum kind)(range >> 2 & 3);
}

/* RANGES: count at bit 16, first word at bit 32. BITMAP: first word at bit 32. */
static inline uint64_t block_word(uint32_t form, uint32_t count, uint64_t start) {
    return form | (uint64_t)count << 16 | start << 32;
}

static inline uint64_t table_home(uint64_t high, uint64_t low, uint64_t seed, uint64_t slots) {
    uint64_t hash = (high ^ seed) * 0x9e3779b97f4a7c15u;
    hash = ((hash ^ hash >> 32) + low) * 0xd6e8feb86659fd93u;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93u;
    return (hash >> 32) * slots >> 32;
}

/* A word that is a record by itself; 0 where there is none. */
static inline uint64_t table_word(const struct table *table, uint64_t index) {
    const uint64_t *word = TABLE_AT(table, index, 1);
    return word ? TABLE_READ(word, 0) : 0;
}

static inline enum kind table_in_block(const struct table *table, uint64_t block, uint32_t offset) {
    uint64_t start = block >> 32;
    if ((block & 3) == BLOCK_BITMAP)
        return (enum kind)(table_word(table, start + (offset >> 5)) >> (offset & 31) * 2 & 3);
    if ((block & 3) == BLOCK_RANGES) {
        uint64_t count = block >> 16 & 0xffff; /* from `start` on, the last range that begins at or before offset */
        UNROLLED
        for (uint32_t step = 0; step < 9; step++) {
            STEP;
            if (count <= 1) break;
            uint64_t half = count / 2;
            /* a sum, not a choice: nobody can guess which way it goes, and a wrong guess costs more than all the rest
             */
            start += half & -(uint64_t)(range_first(table_word(table, start + half)) <= offset);
            count -= half;
        }
        block = table_word(table, start);
    }
    if (offset < range_first(block) || offset > range_last(block)) return KIND_NONE;
    return range_kind(block);
}

/* Whether the wide range begins at or before the address. */
static inline uint64_t wide_begins(const uint64_t *range, uint64_t high, uint64_t low) {
    uint64_t first = TABLE_READ(range, 0);
    return first < high || (first == high && TABLE_READ(range, 1) <= low);
}

static inline enum kind table_in_wide(const struct table *table, uint64_t start, uint64_t count, uint64_t high,
                                      uint64_t low) {
    UNROLLED /* as among the ranges of a block */
        for (uint32_t step = 0; step < 32; step++) {
        STEP;
        if (count <= 1) break;
        uint64_t half = count / 2;
        const uint64_t *range = TABLE_AT(table, start + half * TABLE_WIDE_WORDS, 4);
        start += half * TABLE_WIDE_WORDS & -(uint64_t)(range && wide_begins(range, high, low));
        count -= half;
    }
    const uint64_t *range = TABLE_AT(table, start, 4);
    if (!range || !wide_begins(range, high, low)) return KIND_NONE;
    uint64_t last = TABLE_READ(range, 2), last_low = TABLE_READ(range, 3);
    if (high > last || (high == last && low > last_low >> 2)) return KIND_NONE;
    return (enum kind)(last_low & 3);
}

/* The word of the block that has this key; 0 if there is none. */
static inline uint64_t table_block(const struct table *table, const uint64_t *header, uint64_t high, uint64_t low) {
    uint64_t slots = TABLE_READ(header, TABLE_SLOTS_COUNT);
    if (!slots) return 0;
    uint64_t home = table_home(high, low, TABLE_READ(header, TABLE_SEED), slots);
    uint64_t at = TABLE_READ(header, TABLE_SLOTS) + home * TABLE_SLOT_WORDS;
    UNROLLED
    for (uint32_t probe = 0; probe < TABLE_PROBES; probe++, at += TABLE_SLOT_WORDS) {
        const uint64_t *slot = TABLE_AT(table, at, 4);
        uint64_t candidate = slot ? TABLE_READ(slot, 2) : 0;
        if (candidate == 0) break;
        if (TABLE_READ(slot, 0) == high && TABLE_READ(slot, 1) == low) return candidate;
    }
    return 0;
}

/* `wide` is the header word that says where the family's wide ranges begin; their count follows it. */
static inline enum kind table_find(const struct table *table, uint32_t wide, uint64_t high, uint64_t low,
                                   uint32_t offset) {
    const uint64_t *header = TABLE_AT(table, 0, TABLE_HEADER);
    if (!header) return KIND_NONE;
    uint64_t block = table_block(table, header, high, low);
    if (block) return table_in_block(table, block, offset);
    uint64_t count = TABLE_READ(header, wide + 1);
    return count ? table_in_wide(table, TABLE_READ(header, wide), count, high, low) : KIND_NONE;
}

#ifndef __BPF__
/* Fetch what table_find() will look at: first the slot, and once that has come, what its block refers to. Who has
 * several frames at hand does either some frames ahead, and so waits for memory once a batch instead of twice a frame.
 * Inlined by force: gcc takes a function that only fetches for one without effect, and drops the call. */
__attribute__((always_inline)) static inline void table_prefetch_slot(const struct table *table, uint64_t high,
                                                                      uint64_t low) {
    uint64_t slots = table->word[TABLE_SLOTS_COUNT], start = table->word[TABLE_SLOTS];
    if (!slots) return;
    const uint64_t *slot =
        &table->word[start + table_home(high, low, table->word[TABLE_SEED], slots) * TABLE_SLOT_WORDS];
    __builtin_prefetch(slot);
    __builtin_prefetch(slot + 2 * TABLE_SLOT_WORDS - 1);
}

__attribute__((always_inline)) static inline void table_prefetch_block(const struct table *table, uint64_t high,
                                                                       uint64_t low, uint32_t offset) {
    uint64_t block = table_block(table, table->word, high, low), start = block >> 32, count = block >> 16 & 0xffff;
    if ((block & 3) == BLOCK_BITMAP) __builtin_prefetch(&table->word[start + (offset >> 5)]);
    if ((block & 3) != BLOCK_RANGES) return;
    /* every cache line of up to 64 ranges, and of more what the first three steps of the search will ask for */
    uint64_t stride = count > 64 ? count / 8 : 8;
    for (uint64_t at = 0; at < count; at += stride) __builtin_prefetch(&table->word[start + at]);
}
#endif

/* What the outline says of an address: its kind, or OUTLINE_LOOK. */
static inline uint32_t outline_find4(const uint64_t *outline, uint32_t address) {
    uint32_t kinds = (uint32_t)outline[OUTLINE_KINDS];
    UNROLLED
    for (uint32_t i = 0; i < OUTLINE_STRETCHES; i++, kinds >>= 8) {
        STEP;
        if (!kinds) break;
        uint64_t stretch = outline[OUTLINE_IPV4 + i];
        if (address - (uint32_t)stretch <= stretch >> 32) return kinds & 0xff;
    }
    return KIND_NONE;
}

static inline uint32_t outline_find6(const uint64_t *outline, uint64_t high, uint64_t low) {
    uint32_t kinds = (uint32_t)(outline[OUTLINE_KINDS] >> 32);
    UNROLLED
    for (uint32_t i = 0; i < OUTLINE_STRETCHES; i++, kinds >>= 8) {
        STEP;
        if (!kinds) break;
        const uint64_t *stretch = &outline[OUTLINE_IPV6 + 4 * i];
        int begins = stretch[0] < high || (stretch[0] == high && stretch[1] <= low);
        if (begins && (high < stretch[2] || (high == stretch[2] && low <= stretch[3]))) return kinds & 0xff;
    }
    return KIND_NONE;
}

#ifndef TABLE_FIND
#define TABLE_FIND              table_find
#define TABLE_OUTLINE_OF(table) (&(table)->word[TABLE_OUTLINE])
#endif

/* What this IPv4 address, in host order, is to us. */
static inline enum kind table_find4(const struct table *table, uint32_t address) {
    uint32_t kind = outline_find4(TABLE_OUTLINE_OF(table), address);
    if (kind != OUTLINE_LOOK) return (enum kind)kind;
    return TABLE_FIND(table, TABLE_WIDE4, 0, TABLE_IPV4 | address >> 16, address & 0xffff);
}

/* What this IPv6 address, as on the wire, is to us. */
static inline enum kind table_find6(const struct table *table, const uint8_t address[16]) {
    uint64_t high = net64(load64(address)), low = net64(load64(address + 8));
    uint32_t kind = outline_find6(TABLE_OUTLINE_OF(table), high, low);
    if (kind != OUTLINE_LOOK) return (enum kind)kind;
    return TABLE_FIND(table, TABLE_WIDE6, high, low >> 16, low & 0xffff);
}

#endif
