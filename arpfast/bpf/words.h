/* Tables as the programs in the kernel read them: the outline by direct access, and table.h over the pages of a map. A
 * table is its outline, in the clothes of a pointer that table.h never follows; `find` is verified once and called,
 * however often a program asks.
 *
 * Without CAP_PERFMON the verifier has the processor stand still (lfence) after nearly all that is written to the
 * stack, which is what a compiler does with what it has no register for. So what a search needs lies in the memory of a
 * map, one for each processor; the keys of pages, too. */
#ifndef ARPFAST_BPF_WORDS_H
#define ARPFAST_BPF_WORDS_H

struct search {
    __u64 high, low;
    __u32 offset, wide;
    __u32 slot, key;
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct search);
} searches SEC(".maps");

__u32 only SHARED(only); /* 0: the key of what there is one of, which on the stack would be dear */

struct pages {
    const void *map;
    struct search *search;
};

static __always_inline const uint64_t *page_at(const void *table, uint64_t index, __u32 mask) {
    const struct pages *pages = table;
    pages->search->key = index / PAGE_WORDS;
    const uint64_t *words = bpf_map_lookup_elem((void *)pages->map, &pages->search->key);
    return words ? words + (index & mask) : NULL;
}

static __always_inline const struct table *table_in(__u32 slot) {
    return (const struct table *)&outlines[slot % SLOTS_MAX];
}

int find(struct search *search);

static __always_inline int search_for(__u32 slot, __u32 wide, __u64 high, __u64 low, __u32 offset) {
    struct search *search = bpf_map_lookup_elem(&searches, &only);
    if (!search) return 0;
    search->slot = slot;
    search->wide = wide;
    search->high = high;
    search->low = low;
    search->offset = offset;
    return find(search);
}

#define TABLE_AT(table, index, words) page_at(table, index, PAGE_WORDS - (words))
#define TABLE_OUTLINE_OF(table)       (((const struct outline *)(table))->word)
#define TABLE_FIND(table, wide, high, low, offset)                                                                     \
    (enum kind) search_for(TABLE_OUTLINE_OF(table)[OUTLINE_SLOT], wide, high, low, offset)
#include "../table.h"

_Static_assert(sizeof(struct outline) == OUTLINE_WORDS * sizeof(__u64), "as table.h has it");

__noinline int find(struct search *search) {
    if (!search) return KIND_NONE; /* for the verifier */
    struct pages pages = {bpf_map_lookup_elem(&tables, &search->slot), search};
    if (!pages.map) return KIND_NONE;
    return (int)table_find((const struct table *)&pages, search->wide & (TABLE_WIDE4 | TABLE_WIDE6), search->high,
                           search->low, search->offset);
}

#endif
