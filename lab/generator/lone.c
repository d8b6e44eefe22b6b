/*
 * Asks one question at a time and times the answers; prints one line of JSON.
 *
 *   lone interface=IF frame=HEX [asks=1000] [interval_ns=1000000] [count=N] [stride=N] [spin=0|1]
 * [patience_ns=100000000]
 *
 * From just before send() to just after recv(), CLOCK_MONOTONIC. Spinning, the asker never sleeps and its own wake-up
 * is not in the time; sleeping, it is, as in every real program.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <unistd.h>

#include "template.h"

static int by_value(const void *a, const void *b) {
    __u64 x = *(const __u64 *)a, y = *(const __u64 *)b;
    return x < y ? -1 : x > y;
}

/* The time at which the answer for the target came; 0 if it did not. */
static __u64 await(int file, __u64 target, const __u8 *mac, __u64 give_up, int spin) {
    __u8 frame[2048];
    for (;;) {
        __u64 now = now_ns();
        if (now >= give_up) return 0;
        if (!spin) {
            struct pollfd wait = {.fd = file, .events = POLLIN};
            struct timespec left = {(give_up - now) / 1000000000, (give_up - now) % 1000000000};
            ppoll(&wait, 1, &left, NULL);
        }
        ssize_t length = recv(file, frame, sizeof frame, MSG_DONTWAIT);
        __u64 about;
        if (length > 0 && read_answer(frame, frame + length, &about) != ANSWER_NONE && about == target &&
            !memcmp(frame, mac, 6))
            return now_ns();
    }
}

int main(int argc, char **argv) {
    (void)argc;
    struct settings s = {0};
    prepare(&s, argv);
    int index = interface_index(argv, "interface");
    int file = packet_socket(index, s.version == 4 ? 0x0806 : 0x86dd);
    __u64 asks = number(argv, "asks", 1000), patience = number(argv, "patience_ns", 100000000);
    __u64 interval = number(argv, "interval_ns", 1000000);
    int spin = number(argv, "spin", 0);
    __u64 *took = calloc(asks, sizeof *took), answered = 0, next = now_ns();
    __u8 frame[NS_LENGTH];
    for (__u64 n = 0; n < asks; n++) {
        __u64 target = s.first + n % s.count * s.stride;
        craft(frame, &s, target, 0);
        while (spin && now_ns() < next);
        if (!spin) {
            struct timespec then = {next / 1000000000, next % 1000000000};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, NULL);
        }
        __u64 start = now_ns();
        if (send(file, frame, frame_length(&s), 0) < 0) fail("sending");
        __u64 end = await(file, target, frame + 6, start + patience, spin);
        if (end) took[answered++] = end - start;
        next = (next + interval > now_ns() ? next : now_ns()) + interval;
    }
    qsort(took, answered, sizeof *took, by_value);
    printf("{\"asked\": %llu, \"answered\": %llu, \"min_ns\": %llu, \"median_ns\": %llu, \"p99_ns\": %llu, "
           "\"p999_ns\": %llu, \"max_ns\": %llu}\n",
           asks, answered, answered ? took[0] : 0, answered ? took[answered / 2] : 0,
           answered ? took[answered * 99 / 100] : 0, answered ? took[answered * 999 / 1000] : 0,
           answered ? took[answered - 1] : 0);
    return 0;
}
