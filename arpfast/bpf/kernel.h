/* The BPF object, and libbpf as the loader uses it: errors are returned as -errno, what libbpf and the verifier have to
 * say about them is kept for the exception and never printed. */
#ifndef ARPFAST_BPF_KERNEL_H
#define ARPFAST_BPF_KERNEL_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../table.h"
#include "ingress.h"
#include "maps.h"
#include "programs.bpf.h"

/* What libbpf said while a listener was set: its last words, since a verifier's log ends with the reason. */
struct complaint {
    size_t length;
    char text[4096];
};

static struct complaint *listener;

static struct complaint *complaint_new(void) {
    return calloc(1, sizeof(struct complaint));
}

static void complaint_free(struct complaint *complaint) {
    free(complaint);
}

static int hear(enum libbpf_print_level level, const char *format, va_list arguments) {
    char *said = NULL;
    if (level != LIBBPF_WARN || !listener) return 0;
    int length = vasprintf(&said, format, arguments);
    if (length < 0) return 0;
    size_t room = sizeof listener->text - 1, added = (size_t)length < room ? (size_t)length : room;
    size_t kept = listener->length < room - added ? listener->length : room - added;
    memmove(listener->text, listener->text + listener->length - kept, kept);
    memcpy(listener->text + kept, said + (size_t)length - added, added + 1);
    listener->length = kept + added;
    free(said);
    return 0;
}

/* What the object consists of: programs, then maps. */
enum part {
    PART_FILTER_ARP,
    PART_FILTER_ND,
    PART_GUARD,
    PART_ANSWER_XDP,
    PART_ANSWER_TC,
    PART_LINKS,
    PART_TABLES,
    PART_OUTLINES,
    PART_LIMITS,
    PART_MEMBERS,
    PART_COUNTERS,
    PART_SEATS,
    PART_IDENTITIES,
    PART_TERMS,
    PART_TALLIES,
    PART_ASKED,
    PART_ASKED_BY,
    PARTS
};

static const char *const part_names[PARTS] = {
    "filter_arp",      "filter_nd",     "guard",       "answer_xdp", "answer_tc",    "links",
    "tables",          ".bss.outlines", ".bss.limits", "members",    "counters",     ".bss.seats",
    ".bss.identities", ".bss.terms",    "tallies",     ".bss.asked", ".bss.asked_by"};

_Static_assert(sizeof part_names / sizeof *part_names == PARTS && PART_ASKED_BY == 16, "each part has its name");

/* What to ask for: each has what those before it have, and needs more of the kernel. */
enum extent { EXTENT_FILTERS, EXTENT_GUARD, EXTENT_ANSWERS };

static bool part_wanted(enum part part, enum extent extent) {
    if (part == PART_GUARD) return extent >= EXTENT_GUARD;
    bool for_answers =
        part == PART_ANSWER_XDP || part == PART_ANSWER_TC || part > PART_SEATS; /* which the guard reads */
    return !for_answers || extent >= EXTENT_ANSWERS;
}

static int part_fd(const struct bpf_object *object, enum part part) {
    if (part >= PART_LINKS) return bpf_object__find_map_fd_by_name(object, part_names[part]);
    return bpf_program__fd(bpf_object__find_program_by_name(object, part_names[part]));
}

/* Loads programs and maps. All that outlives the call are the descriptors in `fds`, -1 for what was not loaded:
 * libbpf's own memory is given back. Without CAP_NET_ADMIN there are only the filters; ask for less, then. */
static int load(int *fds, enum extent extent, struct complaint *complaint) {
    complaint->length = 0;
    complaint->text[0] = 0;
    listener = complaint;
    libbpf_print_fn_t before = libbpf_set_print(hear);
    struct bpf_object_open_opts options = {.sz = sizeof options, .object_name = "arpfast"};
    struct bpf_object *object = bpf_object__open_mem(programs_object, sizeof programs_object, &options);
    int error = object ? 0 : -errno;
    for (int part = 0; part < PART_LINKS && !error; part++)
        bpf_program__set_autoload(bpf_object__find_program_by_name(object, part_names[part]),
                                  part_wanted(part, extent));
    for (int part = PART_LINKS; part < PARTS && !error; part++)
        bpf_map__set_autocreate(bpf_object__find_map_by_name(object, part_names[part]), part_wanted(part, extent));
    if (!error) error = bpf_object__load(object);
    for (int part = 0; part < PARTS && !error; part++) {
        if (!part_wanted(part, extent)) continue;
        fds[part] = fcntl(part_fd(object, part), F_DUPFD_CLOEXEC, 3);
        if (fds[part] < 0) error = -errno;
    }
    bpf_object__close(object);
    libbpf_set_print(before);
    listener = NULL;
    return error;
}

/* A new array map of so many pages, and where they lie in our own memory, until `pages_close`; its descriptor or
 * -errno. */
static int pages_map(uint64_t pages, uint64_t **memory) {
    struct bpf_map_create_opts options = {.sz = sizeof options, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP};
    const size_t page = PAGE_WORDS * sizeof **memory;
    if (pages > UINT32_MAX) return -E2BIG;
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "arpfast_table", sizeof(uint32_t), (uint32_t)page, (uint32_t)pages,
                            &options);
    if (fd < 0) return -errno;
    void *mapped = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        int error = -errno;
        close(fd);
        return error;
    }
    *memory = mapped;
    return fd;
}

static void pages_close(uint64_t *memory, uint64_t pages) {
    if (memory) munmap(memory, pages * PAGE_WORDS * sizeof *memory);
}

/* The same with these words in it. */
static int words_map(const uint64_t *words, uint64_t count) {
    uint64_t *memory, pages = (count + PAGE_WORDS - 1) / PAGE_WORDS;
    int fd = pages_map(pages, &memory);
    if (fd < 0) return fd;
    memcpy(memory, words, count * sizeof *words);
    pages_close(memory, pages);
    return fd;
}

/* All outlines in our own memory; NULL with errno. */
static struct outline *outlines_open(int map) {
    void *memory = mmap(NULL, SLOTS_MAX * sizeof(struct outline), PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void outlines_close(struct outline *outlines) {
    if (outlines) munmap(outlines, SLOTS_MAX * sizeof *outlines);
}

/* Gives a slot, which nobody reads, the outline of a table; of none if `table` is NULL. */
static void outline_set(struct outline *outline, uint32_t slot, const struct table *table) {
    *outline = (struct outline){{0}};
    if (table) memcpy(outline->word, &table->word[TABLE_OUTLINE], sizeof outline->word);
    outline->word[OUTLINE_SLOT] = slot;
}

static int set_value(int map, const void *key, const void *value) {
    return bpf_map_update_elem(map, key, value, BPF_ANY) ? -errno : 0;
}

static int unset(int map, const void *key) {
    return bpf_map_delete_elem(map, key) && errno != ENOENT ? -errno : 0;
}

static int counter_total(int map, uint32_t counter, uint64_t *total) {
    int cpus = libbpf_num_possible_cpus();
    if (cpus < 0) return cpus;
    uint64_t values[cpus];
    if (bpf_map_lookup_elem(map, &counter, values)) return -errno;
    *total = 0;
    for (int i = 0; i < cpus; i++) *total += values[i];
    return 0;
}

#endif
