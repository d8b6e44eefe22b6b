/*
 * What the programs on an interface cost a frame: runs each by BPF_PROG_TEST_RUN, where it is, over the frame that is
 * given; prints a line of JSON with the nanoseconds of each, which include those of the test run itself.
 *
 *   weigh interface=IF frame=HEX [repeat=1000000] [rounds=9]
 *
 * Of XDP, and of tcx at ingress. The median of the rounds: a round is short, and the machine has other things to do.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include "../options.h"

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS, which headers before 6.6 lack */
#define PROGRAMS    8
#define ROUNDS      99

static int by_value(const void *a, const void *b) {
    __u32 x = *(const __u32 *)a, y = *(const __u32 *)b;
    return (x > y) - (x < y);
}

static __u32 weigh(__u32 id, __u8 *frame, unsigned length, __u64 repeat, unsigned rounds) {
    int file = bpf_prog_get_fd_by_id(id);
    if (file < 0) fail("opening the program");
    __u32 took[ROUNDS];
    for (unsigned n = 0; n < rounds; n++) {
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = length, .repeat = repeat);
        if (bpf_prog_test_run_opts(file, &options)) fail("running the program");
        took[n] = options.duration;
    }
    close(file);
    qsort(took, rounds, sizeof *took, by_value);
    return took[rounds / 2];
}

int main(int argc, char **argv) {
    (void)argc;
    int index = interface_index(argv, "interface");
    const char *hex = required(argv, "frame");
    __u8 frame[2048];
    unsigned length = strlen(hex) / 2, byte, rounds = number(argv, "rounds", 9);
    if (length > sizeof frame || rounds < 1 || rounds > ROUNDS) {
        fprintf(stderr, "expected a frame of up to %zu bytes, and 1 to %d rounds\n", sizeof frame, ROUNDS);
        return 2;
    }
    for (unsigned at = 0; at < length && sscanf(hex + 2 * at, "%2x", &byte) == 1; at++) frame[at] = byte;
    __u64 repeat = number(argv, "repeat", 1000000);
    __u32 xdp = 0, ids[PROGRAMS] = {0}, many = PROGRAMS;
    if (bpf_xdp_query_id(index, 0, &xdp) && errno != ENOENT) fail("asking for XDP programs");
    if (bpf_prog_query(index, TCX_INGRESS, 0, NULL, ids, &many)) many = 0; /* older than tcx */
    printf("{");
    if (xdp) printf("\"xdp\": %u", weigh(xdp, frame, length, repeat, rounds));
    for (__u32 n = 0; n < many; n++)
        printf("%s\"tc %u\": %u", xdp || n ? ", " : "", n, weigh(ids[n], frame, length, repeat, rounds));
    printf("}\n");
    return 0;
}
