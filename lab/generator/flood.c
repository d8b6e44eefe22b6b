/*
 * Floods an answerer with questions and counts the answers; prints one line of JSON.
 *
 *   flood interface=IF frame=HEX [seconds=1] [engine=xdp|socket] [count=N] [stride=N] [random=1] [sources=N]
 *         [interval_ns=N] [doze_ns=N] [polite_ns=N] object=flood.bpf.o [peer_namespace=PATH peer=IF]
 *
 * The XDP engine makes 3 million a second and more; it needs `peer`, whose end gets the counting program. The socket
 * engine sends in bursts of what is due, and asks nothing of the other end; it sleeps in between, for `doze_ns` at a
 * time if that is given, else only where the interval is long. Programs hang on links of this process: they go when it
 * goes.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "template.h"

#define REPEAT (1 << 20) /* a few thousand a call would spend the time on setting the run up */
#define BURST  64

static volatile sig_atomic_t ended;
static void end(int signal) {
    (void)signal;
    ended = 1;
}

static struct bpf_object *object;
static int map(const char *name) {
    return bpf_object__find_map_fd_by_name(object, name);
}

static struct bpf_program *program(const char *name) {
    return bpf_object__find_program_by_name(object, name);
}

static void attach(const char *name, int index) {
    if (!bpf_program__attach_xdp(program(name), index)) fail(name);
}

static void attach_at_peer(char **argv) {
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int away = open(required(argv, "peer_namespace"), O_RDONLY | O_CLOEXEC);
    if (home < 0 || away < 0 || setns(away, CLONE_NEWNET)) fail("the peer's namespace");
    attach("arrive", interface_index(argv, "peer"));
    if (setns(home, CLONE_NEWNET)) fail("our own namespace");
    close(home);
    close(away);
}

static void run_xdp(const struct settings *s, int index) {
    __u8 frame[NS_LENGTH];
    memcpy(frame, s->frame, NS_LENGTH);
    struct xdp_md context = {.data_end = frame_length(s), .ingress_ifindex = index};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = frame_length(s), .ctx_in = &context,
                .ctx_size_in = sizeof context, .repeat = REPEAT, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
                .batch_size = BURST);
    while (!ended)
        if (bpf_prog_test_run_opts(bpf_program__fd(program("generate")), &options) && errno != EINTR && errno != EAGAIN)
            fail("running the generator");
}

/* xorshift: good enough to hop about, and the same for everybody. */
static __u64 hop(__u64 *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void run_socket(const struct settings *s, struct state *st, int index, __u64 doze_ns) {
    int file = packet_socket(index, 0);
    static __u8 frames[BURST][NS_LENGTH];
    struct iovec parts[BURST];
    struct mmsghdr messages[BURST] = {0};
    for (int i = 0; i < BURST; i++) {
        parts[i] = (struct iovec){frames[i], frame_length(s)};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    __u64 start = now_ns(), seed = 88172645463325252ull, woken = start;
    while (!ended) {
        __u64 due = s->interval_ns ? (now_ns() - start) / s->interval_ns + 1 - st->sent : BURST;
        if (!due || due > (1ull << 63)) {
            __u64 next = doze_ns ? woken += doze_ns : start + st->sent * s->interval_ns;
            struct timespec then = {next / 1000000000, next % 1000000000};
            if (doze_ns || s->interval_ns > 200000) /* below that, waking up would take longer than the wait */
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, NULL);
            continue;
        }
        unsigned many = due > BURST ? BURST : due;
        for (unsigned i = 0; i < many; i++) {
            __u64 n = st->sent + i;
            craft(frames[i], s, s->first + (s->random ? hop(&seed) : n) % s->count * s->stride, n % s->sources);
        }
        int sent = sendmmsg(file, messages, many, 0);
        if (sent < 0 && errno != EINTR && errno != ENOBUFS && errno != EAGAIN) fail("sending");
        st->sent += sent > 0 ? sent : 0;
    }
}

static int by_value(const void *a, const void *b) {
    __u64 x = *(const __u64 *)a, y = *(const __u64 *)b;
    return x < y ? -1 : x > y;
}

static void report(const struct settings *s, struct state *st, __u64 took_ns, int in_kernel) {
    __u32 zero = 0;
    int cpus = libbpf_num_possible_cpus();
    struct counters each[cpus], sum = {0};
    struct polite_state polite;
    if (bpf_map_lookup_elem(map("counters"), &zero, each) || bpf_map_lookup_elem(map("polite_state"), &zero, &polite) ||
        (in_kernel && bpf_map_lookup_elem(map("state"), &zero, st)))
        fail("reading the counters");
    for (int i = 0; i < cpus; i++) {
        sum.arrived += each[i].arrived;
        sum.arp += each[i].arp;
        sum.na += each[i].na;
        sum.wrong += each[i].wrong;
        sum.polite += each[i].polite;
    }
    static __u64 samples[SAMPLES];
    __u32 many = polite.samples < SAMPLES ? polite.samples : SAMPLES;
    for (__u32 i = 0; i < many; i++) bpf_map_lookup_elem(map("polite_ns"), &i, &samples[i]);
    qsort(samples, many, sizeof *samples, by_value);
    printf("{\"seconds\": %.6f, \"offered\": %llu, \"arrived\": %llu, \"arp_replies\": %llu, \"advertisements\": %llu, "
           "\"wrong\": %llu, \"polite_asked\": %llu, \"polite_answered\": %llu, \"polite_median_ns\": %llu, "
           "\"polite_p99_ns\": %llu, \"polite_p999_ns\": %llu}\n",
           took_ns / 1e9, st->sent, sum.arrived, sum.arp, sum.na, sum.wrong, st->polite_sent, sum.polite,
           many ? samples[many / 2] : 0, many ? samples[many * 99ull / 100] : 0,
           many ? samples[many * 999ull / 1000] : 0);
    (void)s;
}

int main(int argc, char **argv) {
    (void)argc;
    struct settings settings = {0};
    struct state state = {0};
    prepare(&settings, argv);
    int index = interface_index(argv, "interface");
    double seconds = atof(option(argv, "seconds") ?: "1");
    int in_kernel = strcmp(option(argv, "engine") ?: "xdp", "socket") != 0;
    object = bpf_object__open_file(required(argv, "object"), NULL);
    __u32 zero = 0;
    if (!object || bpf_object__load(object)) fail("loading the generator");
    if (bpf_map_update_elem(map("settings"), &zero, &settings, BPF_ANY)) fail("setting the generator up");
    attach("collect", index);
    if (option(argv, "peer")) attach_at_peer(argv);

    struct sigaction action = {.sa_handler = end};
    for (int *number = (int[]){SIGALRM, SIGTERM, SIGINT, 0}; *number; number++) sigaction(*number, &action, NULL);
    printf("flooding\n");
    fflush(stdout);
    struct itimerval timer = {.it_value = {.tv_sec = seconds, .tv_usec = (seconds - (long)seconds) * 1e6}};
    setitimer(ITIMER_REAL, &timer, NULL);
    __u64 start = now_ns();
    if (in_kernel)
        run_xdp(&settings, index);
    else
        run_socket(&settings, &state, index, number(argv, "doze_ns", 0));
    __u64 took = now_ns() - start;
    usleep(number(argv, "settle_ms", 100) * 1000); /* the last answers are on their way */
    report(&settings, &state, took, in_kernel);
    return 0;
}
