/* Tables as the programs in the kernel read them: table.h over the pages of a map. A table is a search in it, in the
 * clothes of a pointer that table.h never follows; `find` is verified once and called, however often a program asks.
 *
 * Without CAP_PERFMON the verifier has the processor stand still (lfence) after nearly all that is written to the
 * stack, which is what a compiler does with what it has no register for. So what a search needs lies in memory that
 * whoever asks provides, and who is in a hurry provides that of a map; the keys of pages, too. */
#ifndef ARPFAST_BPF_WORDS_H
#define ARPFAST_BPF_WORDS_H

struct search {
    __u64 high, low;
    __u32 offset, wide;
    __u32 slot, key;
};

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

static __always_inline const struct table *table_in(struct search *search, __u32 slot) {
    search->slot = slot;
    return (const struct table *)search;
}

int find(struct search *search);

static __always_inline int search_for(struct search *search, __u32 wide, __u64 high, __u64 low, __u32 offset) {
    search->wide = wide;
    search->high = high;
    search->low = low;
    search->offset = offset;
    return find(search);
}

#define TABLE_AT(table, index, words) page_at(table, index, PAGE_WORDS - (words))
#define TABLE_FIND(table, wide, high, low, offset)                                                                     \
    (enum kind) search_for((struct search *)(table), wide, high, low, offset)
#include "../table.h"

__noinline int find(struct search *search) {
    if (!search) return KIND_NONE; /* for the verifier */
    struct pages pages = {bpf_map_lookup_elem(&tables, &search->slot), search};
    if (!pages.map) return KIND_NONE;
    return (int)table_find((const struct table *)&pages, search->wide & (TABLE_WIDE4 | TABLE_WIDE6), search->high,
                           search->low, search->offset);
}

#endif
