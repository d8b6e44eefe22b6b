/* Until when the kernel may answer in our stead (bpf/answering.h). It lies in memory that both see, and the thread puts
 * it off at each pass: so programs that nobody attends to stop by themselves. With a lease their time is the thread's
 * own: what it would not answer on waking up, they do not answer while it sleeps. */
#ifndef ARPFAST_TERM_H
#define ARPFAST_TERM_H

#include <stdint.h>

struct term {
    uint64_t until_ns;      /* CLOCK_MONOTONIC; the programs look at its coarse form, some milliseconds behind */
    uint64_t boot_until_ns; /* CLOCK_BOOTTIME, which costs more, and goes on in a suspended machine; 0: not asked */
    uint64_t members;       /* whether there are any: what they ask is for the thread */
};

#ifndef __bpf__
#include "lease.h"

enum { TERM_OVER = 1 };

static inline void term_put_off(struct term *term, const struct lease *lease, uint64_t now_ns, uint64_t outlive_ns) {
    uint64_t boot_ns = 0;
    if (lease->gap_ns) boot_ns = lease_frozen(lease) ? TERM_OVER : lease->looked_ns + lease->gap_ns;
    __atomic_store_n(&term->boot_until_ns, boot_ns, __ATOMIC_RELEASE);
    __atomic_store_n(&term->until_ns, now_ns + outlive_ns, __ATOMIC_RELEASE);
}
#endif

#endif
