/* The thread: hears every port, answers, sends what is queued at its pace, tells facts. No lock, no allocation, no log.
 *
 * Who owns what. A *port* is one interface's sockets, counters and queue; Python makes and frees it. A *plan* says what
 * to answer: for each port an identity and a table. Python publishes a new plan by one pointer; the thread takes it up
 * at the top of a pass and says so (`adopted`), and only then does Python free the old plan, and ports and tables that
 * were in the old one alone. So a frame is answered by the old table or the new, never by half of one, and ports that
 * stay hear on without a gap.
 *
 * A pass looks at each ring once and takes up to BATCH frames from it. Replies are written over the requests, in the
 * ring, and sent by one sendmmsg; then the slots go back to the kernel. When no ring had anything, the thread sleeps
 * in ppoll, without a timeout unless messages wait for their pace, others are watched (succession.h), there is a lease
 * (lease.h), or the kernel answers as well and its term is to be put off (term.h): an idle responder wakes for nothing.
 */
#ifndef ARPFAST_LOOP_H
#define ARPFAST_LOOP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hear.h"
#include "succession.h"

static long loops_alive;

static inline void loop_free(struct loop *loop) {
    if (loop == NULL) return;
    if (loop->facts.wake >= 0) close(loop->facts.wake);
    if (loop->bell >= 0) close(loop->bell);
    if (loop->echo >= 0) close(loop->echo);
    munmap(loop, sizeof *loop);
    loops_alive--;
}

/* A loop without thread or plan; NULL with errno if there are no descriptors or no memory. */
static inline struct loop *loop_new(uint64_t seed) {
    struct loop *loop = mmap(NULL, sizeof *loop, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (loop == MAP_FAILED) return NULL;
    loops_alive++;
    loop->seed = seed;
    loop->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->echo = eventfd(0, EFD_CLOEXEC); /* blocking: Python waits on it */
    if (!facts_open(&loop->facts) || loop->bell < 0 || loop->echo < 0) {
        int error = errno;
        loop_free(loop);
        errno = error;
        return NULL;
    }
    return loop;
}

/* Gives up sockets whose interface is gone. The kernel reports an error when an interface goes down, and nothing more
 * when it is then removed: hence several looks, for a second after each error. */
static inline void hold_inquest(struct loop *loop) {
    struct plan *plan = loop->plan;
    loop->inquests--;
    loop->inquest_ns = loop->now_ns + INQUEST_NS;
    for (uint32_t i = 0; i < FAMILIES * plan->count; i++) {
        struct port *port = plan->entries[i / FAMILIES].port;
        enum family family = (enum family)(i % FAMILIES);
        if (plan->polled[1 + i].fd < 0 || !ring_orphaned(&port->ring[family])) continue;
        plan->polled[1 + i].fd = -1;
        __atomic_store_n(&port->dead, port->dead | 1u << family, __ATOMIC_RELEASE);
        struct fact fact = {.monotonic_ns = loop->now_ns,
                            .ifindex = port->ifindex,
                            .error = ENODEV,
                            .kind = FACT_SOCKET_FAILED,
                            .version = family == FAMILY_ARP ? 4 : 6};
        facts_put(&loop->facts, &fact, 0);
    }
}

/* A socket woke us: takes what is no frame in the ring, and would wake us for ever. Returns whether there was reason.
 */
static inline bool attend(struct loop *loop, struct port *port, enum family family, short events) {
    struct ring *ring = &port->ring[family];
    if (events & (POLLERR | POLLHUP | POLLNVAL)) {
        tally(&port->socket_errors, 1);
        loop->inquests = INQUESTS;
        loop->inquest_ns = loop->now_ns;
        return ring_error(ring) != 0;
    }
    if (__atomic_load_n(&ring_slot(ring, ring->next)->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) return true;
    /* The kernel queues a long frame just before it fills its slot. Only one that waits long has no slot to come. */
    return loop->fruitless >= FRUITLESS && recv(ring->fd, loop->long_frame, LONG_FRAME, MSG_DONTWAIT) >= 0;
}

/* Sleeps until something happens, or for `timeout` if given. */
static inline void rest(struct loop *loop, const struct timespec *timeout) {
    struct plan *plan = loop->plan;
    if (ppoll(plan->polled, 1 + FAMILIES * plan->count, timeout, NULL) <= 0) return;
    bool reason = plan->polled[0].revents != 0;
    if (reason) {
        eventfd_t ignored;
        eventfd_read(loop->bell, &ignored);
    }
    for (uint32_t i = 0; i < FAMILIES * plan->count; i++)
        if (plan->polled[1 + i].revents)
            reason |= attend(loop, plan->entries[i / FAMILIES].port, (enum family)(i % FAMILIES),
                             plan->polled[1 + i].revents);
    loop->fruitless = reason ? 0 : loop->fruitless + 1;
    if (loop->fruitless >= FRUITLESS) {
        /* Two processors fill slots of one ring, and the one with the earlier slot has been held up. */
        struct timespec nap = {.tv_nsec = 100000};
        nanosleep(&nap, NULL);
    }
}

/* Rates that stay the same keep what they remember. */
static inline void adopt_rates(struct loop *loop, const struct rates *rates) {
    if (memcmp(rates, &loop->rates, sizeof *rates) == 0) return;
    loop->rates = *rates;
    loop->pace.interval_ns = rates->send_interval_ns;
    loop->limited = rates->each.period_ns || rates->all.period_ns;
    guard_reset(&loop->guard, rates->each, rates->all, loop->seed);
}

static inline void look_at_clocks(struct loop *loop) {
    loop->now_ns = clock_ns(CLOCK_MONOTONIC);
    if (loop->lease.gap_ns) {
        lease_settle(&loop->lease, __atomic_load_n(&loop->settled, __ATOMIC_ACQUIRE));
        lease_look(&loop->lease, clock_ns(CLOCK_BOOTTIME));
    }
    if (loop->term) term_put_off(loop->term, &loop->lease, loop->now_ns, loop->outlive_ns);
}

static inline void adopt(struct loop *loop, struct plan *plan) {
    adopt_rates(loop, &plan->rates);
    if (plan->lease_ns != loop->lease.gap_ns) lease_set(&loop->lease, plan->lease_ns, clock_ns(CLOCK_BOOTTIME));
    plan->polled[0] = (struct pollfd){.fd = loop->bell, .events = POLLIN};
    for (uint32_t i = 0; i < FAMILIES * plan->count; i++) {
        const struct port *port = plan->entries[i / FAMILIES].port;
        uint32_t family = i % FAMILIES;
        plan->polled[1 + i] =
            (struct pollfd){.fd = port->dead >> family & 1 ? -1 : port->ring[family].fd, .events = POLLIN};
    }
    loop->plan = plan;
    adopt_watches(loop);
    loop->turn = 0;
    __atomic_store_n(&loop->adopted, plan->generation, __ATOMIC_RELEASE);
    eventfd_write(loop->echo, 1);
}

static void *loop_run(void *argument) {
    struct loop *loop = argument;
    for (uint32_t i = 0; i < BATCH; i++)
        loop->outgoing[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &loop->pieces[i], .msg_iovlen = 1}};
    uint32_t passes = 0;
    while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE)) {
        look_at_clocks(loop); /* before anything new: the pause may lie between the wish and us */
        struct plan *wish = __atomic_load_n(&loop->wish, __ATOMIC_ACQUIRE);
        if (wish != loop->plan) adopt(loop, wish);
        __atomic_store_n(&loop->beats, loop->beats + 1, __ATOMIC_RELAXED);
        uint32_t heard = 0;
        for (uint32_t i = 0; i < loop->plan->count; i++)
            for (uint32_t family = 0; family < FAMILIES; family++)
                heard += hear(loop, &loop->plan->entries[i], (enum family)family);
        if (loop->now_ns >= loop->watch_ns) keep_watch(loop);
        uint64_t sleep_ns = send_due(loop);
        if (loop->inquests && loop->now_ns >= loop->inquest_ns) hold_inquest(loop);
        tell_freezes(loop);
        facts_wake(&loop->facts);
        if (heard) {
            /* There may be more: look again before asking the kernel, which then only has errors to tell. */
            struct timespec at_once = {0};
            if (++passes % PASSES_WITHOUT_POLL == 0) rest(loop, &at_once);
            continue;
        }
        if (loop->inquests && sleep_ns > INQUEST_NS) sleep_ns = INQUEST_NS;
        if (loop->watch_ns != FOREVER && loop->watch_ns > loop->now_ns && loop->watch_ns - loop->now_ns < sleep_ns)
            sleep_ns = loop->watch_ns - loop->now_ns;
        if (loop->lease.gap_ns && sleep_ns > loop->lease.gap_ns / 3) sleep_ns = loop->lease.gap_ns / 3;
        if (loop->term && sleep_ns > loop->outlive_ns / 3) sleep_ns = loop->outlive_ns / 3;
        struct timespec timeout = {(time_t)(sleep_ns / 1000000000u), (long)(sleep_ns % 1000000000u)};
        rest(loop, sleep_ns == FOREVER ? NULL : &timeout);
    }
    eventfd_write(loop->echo, 1);
    return NULL;
}

/* Starts the thread, deaf to signals: they are Python's. Under SCHED_FIFO, if that is wished and may be. Returns an
 * errno. */
static inline int loop_start(struct loop *loop, bool fifo) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&loop->thread, NULL, loop_run, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) return error;
    pthread_setname_np(loop->thread, "arpfast-link");
    struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};
    loop->fifo = fifo && pthread_setschedparam(loop->thread, SCHED_FIFO, &lowest) == 0;
    return 0;
}

/* How many passes the thread has made. */
static inline uint64_t loop_beats(const struct loop *loop) {
    return __atomic_load_n(&loop->beats, __ATOMIC_RELAXED);
}

/* Makes the thread look up, should it be asleep. */
static inline void loop_ring(struct loop *loop) {
    eventfd_write(loop->bell, 1);
}

/* The plan for the thread to follow; returns the one before. It may be freed once the thread has adopted the new. */
static inline struct plan *loop_publish(struct loop *loop, struct plan *plan) {
    return __atomic_exchange_n(&loop->wish, plan, __ATOMIC_ACQ_REL);
}

/* What Python has been told of `freezes` is settled: the thread may speak again, unless it froze once more since. */
static inline void loop_settle(struct loop *loop, uint64_t freezes) {
    __atomic_store_n(&loop->settled, freezes, __ATOMIC_RELEASE);
    loop_ring(loop);
}

/* Rings, and waits until the thread has adopted the plan of `generation`. */
static inline void loop_wait_adopted(struct loop *loop, uint64_t generation) {
    loop_ring(loop);
    while (__atomic_load_n(&loop->adopted, __ATOMIC_ACQUIRE) < generation) {
        eventfd_t ignored;
        eventfd_read(loop->echo, &ignored);
    }
}

static inline void loop_stop(struct loop *loop) {
    __atomic_store_n(&loop->stop, 1, __ATOMIC_RELEASE);
    loop_ring(loop);
    pthread_join(loop->thread, NULL);
}

#endif
