/*
 * Returns every probe from the address that it was sent to, with its own number in it: what a service is to a client.
 *
 *   echo host=NUMBER port=PORT
 *
 * Says "ready" once it listens. The destination arrives as packet information and goes back as the same bytes, which
 * then mean the source; the sockets are free to use addresses that are local by a route only.
 */
#define _GNU_SOURCE
#include "probe.h"

#define BATCH 64

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct probe probes[BATCH];
static struct sockaddr_storage from[BATCH];
static char control[BATCH][CMSG_SPACE(sizeof(struct in6_pktinfo))] __attribute__((aligned(8)));

static int listener(int family, int port) {
    int file = datagram_socket(family), on = 1;
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int failed = family == AF_INET ? setsockopt(file, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) ||
                                         setsockopt(file, IPPROTO_IP, IP_FREEBIND, &on, sizeof on) ||
                                         bind(file, (struct sockaddr *)&any4, sizeof any4)
                                   : setsockopt(file, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) ||
                                         setsockopt(file, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on) ||
                                         bind(file, (struct sockaddr *)&any6, sizeof any6);
    if (failed) fail("listening");
    return file;
}

static void answer(int file, unsigned host) {
    for (int n = 0; n < BATCH; n++) {
        parts[n] = (struct iovec){&probes[n], sizeof probes[n]};
        messages[n].msg_hdr = (struct msghdr){
            .msg_name = &from[n],
            .msg_namelen = sizeof from[n],
            .msg_iov = &parts[n],
            .msg_iovlen = 1,
            .msg_control = control[n],
            .msg_controllen = sizeof control[n],
        };
    }
    int count = recvmmsg(file, messages, BATCH, 0, NULL);
    for (int n = 0; n < count; n++) {
        if (messages[n].msg_len != sizeof probes[n] || probes[n].magic != PROBE_MAGIC) continue;
        probes[n].host = host;
        sendmsg(file, &messages[n].msg_hdr, 0);
    }
}

int main(int argc, char **argv) {
    (void)argc;
    unsigned host = number(argv, "host", 1);
    int port = number(argv, "port", 7);
    struct pollfd files[] = {{listener(AF_INET, port), POLLIN, 0}, {listener(AF_INET6, port), POLLIN, 0}};
    end_by_signal();
    go_first();
    printf("ready\n");
    fflush(stdout);
    while (!ended) {
        if (poll(files, 2, -1) < 0) continue;
        for (int n = 0; n < 2; n++)
            if (files[n].revents) answer(files[n].fd, host);
    }
    return 0;
}
