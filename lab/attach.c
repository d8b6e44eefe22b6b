/*
 * Attaches a program of an object to an interface for as long as it runs itself: says `ready`, and waits to be ended.
 *
 *   attach interface=IF object=FILE program=NAME [generic=1]
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <unistd.h>

#include "options.h"

int main(int argc, char **argv) {
    (void)argc;
    int index = interface_index(argv, "interface");
    struct bpf_object *object = bpf_object__open_file(required(argv, "object"), NULL);
    if (!object || bpf_object__load(object)) fail("loading the object");
    const char *name = required(argv, "program");
    struct bpf_program *program = bpf_object__find_program_by_name(object, name);
    if (!program) fail(name);
    LIBBPF_OPTS(bpf_link_create_opts, options, .flags = number(argv, "generic", 0) ? XDP_FLAGS_SKB_MODE : 0);
    if (bpf_link_create(bpf_program__fd(program), index, BPF_XDP, &options) < 0) fail(name);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
