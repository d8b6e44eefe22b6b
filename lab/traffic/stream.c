/*
 * A stream as fast as it goes, to see what something on the way costs; prints one line of JSON.
 *
 *   stream listen=ADDRESS protocol=tcp|udp [port=9]                     says `ready`; at SIGTERM, what arrived
 *   stream send=ADDRESS   protocol=tcp|udp [port=9] [seconds=1] [size=N]  says what it has sent
 *
 * TCP is in writes of 128 KiB and tells what the link carries; UDP is in datagrams of 18 bytes, frames of the least
 * size, and tells what a packet costs.
 */
#define _GNU_SOURCE
#include <netdb.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "../options.h"

#define BURST 64
#define LARGE (1 << 17)

static volatile sig_atomic_t ended;
static void end(int signal) {
    (void)signal;
    ended = 1;
}

static char buffer[LARGE];
static struct iovec parts[BURST];
static struct mmsghdr messages[BURST];

static struct addrinfo *where(char **argv, const char *name, int udp) {
    struct addrinfo hints = {.ai_socktype = udp ? SOCK_DGRAM : SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found;
    if (getaddrinfo(required(argv, name), option(argv, "port") ?: "9", &hints, &found)) {
        fprintf(stderr, "expected an address, not %s\n", option(argv, name));
        exit(2);
    }
    return found;
}

static void report(__u64 packets, __u64 bytes, __u64 took_ns) {
    printf("{\"packets\": %llu, \"bytes\": %llu, \"seconds\": %.6f}\n", packets, bytes, took_ns / 1e9);
}

static void listen_to(char **argv, int udp) {
    struct addrinfo *here = where(argv, "listen", udp);
    int file = socket(here->ai_family, here->ai_socktype | SOCK_CLOEXEC, 0), on = 1, large = 1 << 22;
    setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(file, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large);
    if (file < 0 || bind(file, here->ai_addr, here->ai_addrlen) || (!udp && listen(file, 1))) fail("listening");
    puts("ready");
    fflush(stdout);
    if (!udp) file = accept(file, NULL, NULL);
    __u64 packets = 0, bytes = 0, first = 0, last = 0;
    while (!ended) {
        ssize_t got = udp ? recvmmsg(file, messages, BURST, MSG_WAITFORONE, NULL) : read(file, buffer, LARGE);
        if (got <= 0) {
            if (got == 0 || errno != EINTR) break;
            continue;
        }
        last = now_ns();
        if (!first) first = last;
        packets += udp ? got : 1;
        for (int n = 0; udp && n < got; n++) bytes += messages[n].msg_len;
        bytes += udp ? 0 : got;
    }
    while (!ended) pause();
    report(packets, bytes, last - first);
}

static void send_to(char **argv, int udp) {
    struct addrinfo *there = where(argv, "send", udp);
    int file = socket(there->ai_family, there->ai_socktype | SOCK_CLOEXEC, 0);
    if (file < 0 || connect(file, there->ai_addr, there->ai_addrlen)) fail("connecting");
    double seconds = atof(option(argv, "seconds") ?: "1");
    struct itimerval timer = {.it_value = {.tv_sec = seconds, .tv_usec = (seconds - (long)seconds) * 1e6}};
    setitimer(ITIMER_REAL, &timer, NULL);
    __u64 packets = 0, bytes = 0, start = now_ns(), size = number(argv, "size", udp ? 18 : LARGE);
    for (int n = 0; n < BURST; n++) parts[n].iov_len = size;
    while (!ended) {
        ssize_t sent = udp ? sendmmsg(file, messages, BURST, 0) : write(file, buffer, size);
        if (sent < 0 && errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED) fail("sending");
        if (sent < 0) continue;
        packets += udp ? sent : 1;
        bytes += udp ? sent * size : (__u64)sent;
    }
    report(packets, bytes, now_ns() - start);
}

int main(int argc, char **argv) {
    (void)argc;
    int udp = !strcmp(required(argv, "protocol"), "udp");
    for (int n = 0; n < BURST; n++) {
        parts[n] = (struct iovec){buffer + 64 * n, 64};
        messages[n].msg_hdr.msg_iov = &parts[n];
        messages[n].msg_hdr.msg_iovlen = 1;
    }
    struct sigaction action = {.sa_handler = end};
    for (int *number = (int[]){SIGALRM, SIGTERM, SIGINT, 0}; *number; number++) sigaction(*number, &action, NULL);
    if (option(argv, "listen"))
        listen_to(argv, udp);
    else
        send_to(argv, udp);
    return 0;
}
