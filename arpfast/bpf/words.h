/* Tables as the programs in the kernel read them: table.h over the pages of a map. A table is its slot's number there
 * and one more, in the clothes of a pointer that nobody follows; `find` is verified once and called, however often a
 * program asks. */
#ifndef ARPFAST_BPF_WORDS_H
#define ARPFAST_BPF_WORDS_H

static __always_inline const uint64_t *page_at(const void *pages, uint64_t index, __u32 mask) {
    __u32 page = index / PAGE_WORDS;
    const uint64_t *words = bpf_map_lookup_elem((void *)pages, &page);
    return words ? words + (index & mask) : NULL;
}

static __always_inline const struct table *table_in(__u32 slot) {
    return (const struct table *)((__u64)slot + 1);
}

int find(__u32 slot, __u32 wide, __u64 high, __u64 low, __u32 offset);

#define TABLE_AT(table, index, words)              page_at(table, index, PAGE_WORDS - (words))
#define TABLE_FIND(table, wide, high, low, offset) (enum kind) find((__u32)(__u64)(table) - 1, wide, high, low, offset)
#include "../table.h"

__noinline int find(__u32 slot, __u32 wide, __u64 high, __u64 low, __u32 offset) {
    const void *pages = bpf_map_lookup_elem(&tables, &slot);
    wide &= TABLE_WIDE4 | TABLE_WIDE6; /* for the verifier */
    return pages ? (int)table_find(pages, wide, high, low, offset) : KIND_NONE;
}

#endif
