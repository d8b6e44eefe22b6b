/* What a client sends and an echo returns, with its own number filled in. Both are on one machine: host byte order. */
#ifndef LAB_PROBE_H
#define LAB_PROBE_H

#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>

#include "../options.h"

#define PROBE_MAGIC 0x61727066u

struct probe {
    __u32 magic;
    __u32 stream; /* the number of the address in the client's list */
    __u64 seq;
    __u32 host; /* 0 on the way there */
    __u32 unused;
};
_Static_assert(sizeof(struct probe) == 24, "no padding is sent");

static volatile sig_atomic_t ended;
static void end(int signal) {
    (void)signal;
    ended = 1;
}

static inline void end_by_signal(void) {
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

/* An instrument must not wait for what it measures, where the machine lets it have its way. */
static inline void go_first(void) {
    struct sched_param priority = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &priority);
}

static inline int datagram_socket(int family) {
    int file = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), bytes = 8 << 20, on = 1;
    if (file < 0 || setsockopt(file, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes)) fail("datagram socket");
    if (family == AF_INET6 && setsockopt(file, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)) fail("IPV6_V6ONLY");
    return file;
}

#endif
