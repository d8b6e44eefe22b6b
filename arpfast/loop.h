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
 * in ppoll, without a timeout unless messages wait for their pace: an idle responder wakes for nothing. */
#ifndef ARPFAST_LOOP_H
#define ARPFAST_LOOP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "answer.h"
#include "asked.h"
#include "facts.h"
#include "guard.h"
#include "plan.h"

enum {
    BATCH = 64,
    AHEAD = 8,
    LONG_FRAME = 1 << 16,
    PASSES_WITHOUT_POLL = 256,
    REFUSALS = 4,   /* by the kernel, in one batch; what is left of the batch is not tried */
    FRUITLESS = 64, /* wake-ups in a row for nothing, before the thread slows down */
    INQUESTS = 16
};

#define INQUEST_NS 64000000u /* between two looks at whether sockets that reported an error are orphans */

#define FOREVER UINT64_MAX

struct loop {
    struct plan *wish; /* published by Python */
    uint64_t adopted;  /* generation, published by the thread */
    uint32_t stop;
    int bell; /* eventfd: Python has changed something */
    int echo; /* eventfd: the thread has adopted a plan, or ends */
    pthread_t thread;
    struct asked asked;
    struct facts facts;

    _Alignas(64) struct plan *plan; /* from here on the thread's own */
    uint64_t now_ns;
    uint64_t beats; /* passes of the thread; Python reads it to know that it lives */
    uint32_t turn;  /* the entry that sends first */
    struct pace pace;
    bool sending; /* messages were waiting at the last look */
    bool limited;
    uint32_t fruitless;
    uint32_t inquests; /* still to be held */
    uint64_t inquest_ns;
    uint64_t seed; /* of the guard; random */
    struct rates rates;
    struct guard guard;
    struct mmsghdr outgoing[BATCH];
    struct iovec pieces[BATCH];
    uint8_t built[PACE_SLICE][FRAME_ROOM];
    uint8_t long_frame[LONG_FRAME];
};

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

static inline void tally(uint64_t *counter, uint64_t more) {
    __atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

static inline uint64_t peek(const uint64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Sends the first `frames` pieces; returns how many went out. A frame that the kernel refuses is counted and passed
 * over: its asker will ask again, and trying it again here would let one bad interface hold up all. */
static inline uint32_t send_batch(struct loop *loop, struct port *port, enum family family, uint32_t frames) {
    uint32_t done = 0, sent = 0, refusals = 0;
    while (done < frames && refusals < REFUSALS) {
        const struct iovec *piece = &loop->pieces[done];
        int went;
        if (frames - done == 1) /* a lone request: the plain call is the quicker one */
            went = send(port->ring[family].fd, piece->iov_base, piece->iov_len, MSG_DONTWAIT) < 0 ? -1 : 1;
        else
            went = sendmmsg(port->ring[family].fd, loop->outgoing + done, frames - done, MSG_DONTWAIT);
        if (went > 0) {
            sent += (uint32_t)went;
            done += (uint32_t)went;
        } else if (errno != EINTR) {
            done++;
            refusals = errno == ENETDOWN || errno == ENXIO || errno == ENODEV ? REFUSALS : refusals + 1;
        }
    }
    if (sent < frames) tally(&port->send_errors, frames - sent);
    return sent;
}

static inline void tell(struct loop *loop, const struct port *port, enum fact_kind kind,
                        const struct outcome *outcome) {
    struct fact fact = {
        .monotonic_ns = loop->now_ns, .ifindex = port->ifindex, .kind = kind, .version = outcome->version};
    memcpy(fact.mac, outcome->mac, 6);
    memcpy(fact.address, outcome->address, fact.version == 4 ? 4 : 16);
    facts_heard(&loop->facts, &fact);
}

/* What a frame comes to; a reply of `outcome->reply_length` bytes then lies in the frame. */
static inline enum verdict judge(struct loop *loop, const struct plan_entry *entry, uint8_t *frame, uint32_t length,
                                 uint32_t capacity, struct outcome *outcome) {
    enum verdict verdict = answer(entry->table, &entry->link, frame, length, capacity, outcome);
    switch (verdict) {
    case VERDICT_REPLY: {
        /* What members ask, they ask to know that we live: never too often, and no news to anybody. */
        if (link_is_member(&entry->link, outcome->mac)) break;
        if (loop->limited && !guard_admit(&loop->guard, outcome->mac, loop->now_ns)) return VERDICT_LIMITED;
        struct asker asker = {
            .monotonic_ns = loop->now_ns, .ifindex = entry->port->ifindex, .version = outcome->version};
        memcpy(asker.mac, outcome->mac, 6);
        memcpy(asker.address, outcome->address, asker.version == 4 ? 4 : 16);
        asked_note(&loop->asked, &asker);
        break;
    }
    case VERDICT_CONFLICT:
        tell(loop, entry->port, FACT_CONFLICT, outcome);
        break;
    case VERDICT_TAKEN:
        tell(loop, entry->port, FACT_TAKEN, outcome);
        break;
    case VERDICT_RIVAL:
        tell(loop, entry->port, FACT_RIVAL, outcome);
        break;
    case VERDICT_CONFIRMED:
        tell(loop, entry->port, FACT_CONFIRMED, outcome);
        break;
    default:
        break;
    }
    return verdict;
}

static inline struct tpacket2_hdr *ring_slot(const struct ring *ring, uint32_t index) {
    return (struct tpacket2_hdr *)(ring->memory + (size_t)(index & (ring->frames - 1)) * SLOT_SIZE);
}

/* In a batch, has memory bring a later frame's part of the table while this one is judged. */
static inline void look_ahead(const struct table *table, const struct tpacket2_hdr *slot) {
    if (__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)
        answer_prefetch(table, (const uint8_t *)slot + slot->tp_mac, slot->tp_snaplen);
}

/* Takes up to BATCH frames from one ring; returns how many there were. */
static inline uint32_t hear(struct loop *loop, const struct plan_entry *entry, enum family family) {
    struct port *port = entry->port;
    struct ring *ring = &port->ring[family];
    if (ring->memory == NULL) return 0;
    uint32_t heard = 0, replies = 0;
    while (heard < BATCH) {
        struct tpacket2_hdr *slot = ring_slot(ring, ring->next + heard);
        uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER)) break;
        heard++;
        look_ahead(entry->table, ring_slot(ring, ring->next + heard + AHEAD));
        uint8_t *frame = (uint8_t *)slot + slot->tp_mac, *judged = frame;
        uint32_t length = slot->tp_snaplen, capacity = SLOT_SIZE - slot->tp_mac;
        const struct sockaddr_ll *from = (const void *)((uint8_t *)slot + TPACKET_ALIGN(sizeof *slot));
        if (status & TP_STATUS_COPY) {
            /* Longer than a slot: the whole of it waits in the socket's queue, in the order of the slots. */
            ssize_t whole = recv(ring->fd, loop->long_frame, LONG_FRAME, MSG_DONTWAIT);
            if (whole > 0) {
                judged = loop->long_frame;
                length = (uint32_t)whole;
                capacity = LONG_FRAME;
            }
        }
        enum verdict verdict;
        struct outcome outcome;
        if (from->sll_pkttype == PACKET_OTHERHOST)
            verdict = VERDICT_NOT_FOR_US;
        else if ((status & TP_STATUS_VLAN_VALID) && (slot->tp_vlan_tci & 0xfff) != 0)
            verdict = VERDICT_TAGGED;
        else
            verdict = judge(loop, entry, judged, length, capacity, &outcome);
        tally(&port->verdicts[verdict], 1);
        if (verdict != VERDICT_REPLY) continue;
        if (judged != frame) memcpy(frame, judged, outcome.reply_length);
        loop->pieces[replies++] = (struct iovec){frame, outcome.reply_length};
    }
    if (replies) send_batch(loop, port, family, replies);
    for (uint32_t i = 0; i < heard; i++)
        __atomic_store_n(&ring_slot(ring, ring->next + i)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    ring->next += heard;
    return heard;
}

/* Sends up to `allowed` frames of one family from the head of a port's queue; returns how many were tried. */
static inline uint32_t send_some(struct loop *loop, const struct plan_entry *entry, uint32_t allowed) {
    struct port *port = entry->port;
    struct message *message = queue_first(&port->queue);
    uint32_t frames = 0;
    uint8_t version = message ? message->version : 0, kinds[PACE_SLICE];
    while (frames < allowed && message && message->version == version) {
        loop->pieces[frames] =
            (struct iovec){loop->built[frames], message_write(loop->built[frames], &entry->link, message)};
        kinds[frames++] = message->kind;
        queue_advance(&port->queue);
        message = queue_first(&port->queue);
    }
    if (frames == 0) return 0;
    uint32_t sent = send_batch(loop, port, version == 4 ? FAMILY_ARP : FAMILY_IPV6, frames);
    /* Which of a batch were refused is not kept: in the rare batch that lost some, kinds may swap places. */
    for (uint32_t i = 0; i < sent; i++) tally(&port->sent[kinds[i]], 1);
    if (queue_has_room_again(&port->queue)) {
        struct fact fact = {
            .monotonic_ns = loop->now_ns, .ifindex = port->ifindex, .kind = FACT_ROOM, .version = version};
        facts_put(&loop->facts, &fact, 0);
    }
    return frames;
}

/* Sends what is due, in turns; returns the time until more is, or FOREVER if nothing waits. */
static inline uint64_t send_due(struct loop *loop) {
    const struct plan *plan = loop->plan;
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < plan->count; i++) waiting += queue_length(&plan->entries[i].port->queue) > 0;
    if (waiting && !loop->sending) pace_start(&loop->pace, loop->now_ns);
    loop->sending = waiting > 0;
    if (!waiting) return FOREVER;
    uint32_t allowed = pace_allows(&loop->pace, loop->now_ns), spent = 0;
    uint32_t share = allowed / waiting ? allowed / waiting : 1;
    for (uint32_t i = 0; i < plan->count && spent < allowed; i++) {
        uint32_t frames = send_some(loop, &plan->entries[loop->turn++ % plan->count],
                                    share < allowed - spent ? share : allowed - spent);
        spent += frames;
    }
    pace_spend(&loop->pace, spent);
    return pace_sleep_ns(&loop->pace, loop->now_ns);
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

static inline void adopt(struct loop *loop, struct plan *plan) {
    adopt_rates(loop, &plan->rates);
    plan->polled[0] = (struct pollfd){.fd = loop->bell, .events = POLLIN};
    for (uint32_t i = 0; i < FAMILIES * plan->count; i++) {
        const struct port *port = plan->entries[i / FAMILIES].port;
        uint32_t family = i % FAMILIES;
        plan->polled[1 + i] =
            (struct pollfd){.fd = port->dead >> family & 1 ? -1 : port->ring[family].fd, .events = POLLIN};
    }
    loop->plan = plan;
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
        struct plan *wish = __atomic_load_n(&loop->wish, __ATOMIC_ACQUIRE);
        if (wish != loop->plan) adopt(loop, wish);
        __atomic_store_n(&loop->beats, loop->beats + 1, __ATOMIC_RELAXED);
        loop->now_ns = clock_ns();
        uint32_t heard = 0;
        for (uint32_t i = 0; i < loop->plan->count; i++)
            for (uint32_t family = 0; family < FAMILIES; family++)
                heard += hear(loop, &loop->plan->entries[i], (enum family)family);
        uint64_t sleep_ns = send_due(loop);
        if (loop->inquests && loop->now_ns >= loop->inquest_ns) hold_inquest(loop);
        facts_wake(&loop->facts);
        if (heard) {
            /* There may be more: look again before asking the kernel, which then only has errors to tell. */
            struct timespec at_once = {0};
            if (++passes % PASSES_WITHOUT_POLL == 0) rest(loop, &at_once);
            continue;
        }
        if (loop->inquests && sleep_ns > INQUEST_NS) sleep_ns = INQUEST_NS;
        struct timespec timeout = {(time_t)(sleep_ns / 1000000000u), (long)(sleep_ns % 1000000000u)};
        rest(loop, sleep_ns == FOREVER ? NULL : &timeout);
    }
    eventfd_write(loop->echo, 1);
    return NULL;
}

/* Starts the thread, deaf to signals: they are Python's. Returns an errno. */
static inline int loop_start(struct loop *loop) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&loop->thread, NULL, loop_run, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) pthread_setname_np(loop->thread, "arpfast-link");
    return error;
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
