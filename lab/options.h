/* What the lab's programs share: options as NAME=VALUE, the way to give up, and time. */
#ifndef LAB_OPTIONS_H
#define LAB_OPTIONS_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/types.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static inline void fail(const char *attempted) {
    fprintf(stderr, "%s: %s\n", attempted, strerror(errno));
    exit(1);
}

/* The value of NAME=VALUE among the arguments, or NULL. */
static inline const char *option(char **argv, const char *name) {
    size_t length = strlen(name);
    for (char **word = argv + 1; *word; word++)
        if (!strncmp(*word, name, length) && (*word)[length] == '=') return *word + length + 1;
    return NULL;
}

static inline const char *required(char **argv, const char *name) {
    const char *value = option(argv, name);
    if (!value) {
        fprintf(stderr, "expected %s=…\n", name);
        exit(2);
    }
    return value;
}

static inline __u64 number(char **argv, const char *name, __u64 otherwise) {
    const char *value = option(argv, name);
    return value ? strtoull(value, NULL, 0) : otherwise;
}

static inline int interface_index(char **argv, const char *name) {
    const char *interface = required(argv, name);
    int index = if_nametoindex(interface);
    if (!index) fail(interface);
    return index;
}

static inline __u64 now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* A socket that sends on the interface past its queueing discipline, and hears `protocol` (host order; 0: nothing). */
static inline int packet_socket(int index, int protocol) {
    int file = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = index};
    if (file < 0 || setsockopt(file, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) ||
        bind(file, (struct sockaddr *)&address, sizeof address))
        fail("packet socket");
    return file;
}

#endif
