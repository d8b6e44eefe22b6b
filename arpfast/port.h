/* One interface as the thread sees it: its two sockets, its queue and its counters. Python makes and frees it; while a
 * plan that the thread follows names it, the thread alone touches it, but for the queue's head and for reading. */
#ifndef ARPFAST_PORT_H
#define ARPFAST_PORT_H

#include <net/if.h>

#include "queue.h"
#include "socket.h"
#include "verdict.h"

enum family { FAMILY_ARP, FAMILY_IPV6, FAMILIES };

static const uint16_t family_protocol[FAMILIES] = {ETH_P_ARP, ETH_P_IPV6};

struct port {
    uint32_t ifindex;
    uint32_t dead; /* bit per family, set by the thread: the socket's interface is gone */
    struct ring ring[FAMILIES];
    int ear[FAMILIES]; /* for the answers to watches; -1: nobody is watched there */
    struct queue queue;
    _Alignas(64) uint64_t verdicts[VERDICT_COUNT];
    uint64_t sent[MESSAGE_KINDS];
    uint64_t send_errors;
    uint64_t socket_errors;
    uint64_t withheld; /* frames of messages that a freeze kept from being sent */
    uint64_t heard;    /* frames from the rings */
    uint64_t ear_drops;
    _Alignas(64) uint64_t drops; /* of the rings; added to by whoever reads them, since that resets them */
};

static long ports_alive;

/* Brings `drops` up to date; anybody may. */
static inline void port_count_drops(struct port *port) {
    for (int family = 0; family < FAMILIES; family++)
        __atomic_fetch_add(&port->drops, socket_drops(port->ring[family].fd), __ATOMIC_RELAXED);
}

/* Opens or closes an ear, which the thread must not be using; false with errno if it cannot be opened. */
static inline bool port_listen(struct port *port, enum family family, bool wanted) {
    int *ear = &port->ear[family];
    if (wanted == (*ear >= 0)) return true;
    if (wanted) return (*ear = ear_open(port->ifindex, family_protocol[family])) >= 0;
    close(*ear);
    *ear = -1;
    return true;
}

static inline void port_close(struct port *port) {
    port_count_drops(port);
    for (int family = 0; family < FAMILIES; family++) {
        ring_close(&port->ring[family]);
        port_listen(port, (enum family)family, false);
    }
}

/* Opens both sockets, or none. Returns NULL, or what could not be done, with errno. `programs`: see ring_filter(). */
static inline const char *port_open(struct port *port, uint32_t frames, const int programs[FAMILIES]) {
    port->dead = 0;
    /* To ask costs nothing; to close what was opened in vain waits for the kernel's readers, once a socket. */
    char name[IF_NAMESIZE];
    if (if_indextoname(port->ifindex, name) == NULL) {
        errno = ENODEV;
        return "find the interface";
    }
    for (int family = 0; family < FAMILIES; family++) {
        const char *failed =
            ring_open(&port->ring[family], port->ifindex, family_protocol[family], frames, programs[family]);
        if (failed) {
            int error = errno;
            port_close(port);
            errno = error;
            return failed;
        }
    }
    return NULL;
}

/* Whether it must be opened anew: an interface that is gone never comes back to its sockets. */
static inline bool port_orphaned(const struct port *port) {
    for (int family = 0; family < FAMILIES; family++)
        if (port->ring[family].fd < 0 || ring_orphaned(&port->ring[family])) return true;
    return false;
}

/* Fresh pages rather than malloc: what is never used of the queue never becomes resident. */
static inline struct port *port_new(uint32_t ifindex) {
    struct port *port = mmap(NULL, sizeof *port, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (port == MAP_FAILED) return NULL;
    port->ifindex = ifindex;
    for (int family = 0; family < FAMILIES; family++) port->ring[family].fd = port->ear[family] = -1;
    ports_alive++;
    return port;
}

static inline void port_free(struct port *port) {
    if (port == NULL) return;
    port_close(port);
    munmap(port, sizeof *port);
    ports_alive--;
}

#endif
