/* For how long the thread may stand still and go on as if nothing had been. After a longer pause (SIGSTOP, a suspended
 * or paused machine) other hosts may answer for our addresses: we say nothing any more, until Python, which knows of
 * the others, has been told and has settled the matter.
 *
 * The clock to be passed in is CLOCK_BOOTTIME, which goes wherever CLOCK_MONOTONIC goes and through a suspension as
 * well. A machine that was paused with all its clocks cannot know it. Pure; one thread uses one lease. */
#ifndef ARPFAST_LEASE_H
#define ARPFAST_LEASE_H

#include <stdbool.h>
#include <stdint.h>

struct lease {
    uint64_t gap_ns;    /* the longest pause; 0: any, there is no lease */
    uint64_t looked_ns; /* when the thread last began a pass */
    uint64_t freezes;   /* pauses that were longer */
    uint64_t told;      /* how many of them Python has been told of */
    uint64_t settled;   /* how many of them are settled */
    uint64_t frozen_ns; /* how long the last was */
};

static inline bool lease_frozen(const struct lease *lease) {
    return lease->freezes != lease->settled;
}

/* Whether no pause has gone on too long at this moment; one that has is counted, once. */
static inline bool lease_holds(struct lease *lease, uint64_t boot_ns) {
    uint64_t gap_ns = boot_ns - lease->looked_ns;
    if (!lease->gap_ns || gap_ns <= lease->gap_ns) return true;
    lease->looked_ns = boot_ns;
    lease->frozen_ns = gap_ns;
    lease->freezes++;
    return false;
}

/* The same at the beginning of a pass. */
static inline void lease_look(struct lease *lease, uint64_t boot_ns) {
    lease_holds(lease, boot_ns);
    lease->looked_ns = boot_ns;
}

/* The first `freezes` have been seen to: it may be spoken again if there was no later one. */
static inline void lease_settle(struct lease *lease, uint64_t freezes) {
    if (freezes > lease->settled) lease->settled = freezes;
}

/* Another longest pause from now on. Where there is no lease there is nothing to settle. */
static inline void lease_set(struct lease *lease, uint64_t gap_ns, uint64_t boot_ns) {
    if (!lease->gap_ns || !gap_ns) {
        lease->looked_ns = boot_ns;
        lease->told = lease->settled = lease->freezes;
    }
    lease->gap_ns = gap_ns;
}

#endif
