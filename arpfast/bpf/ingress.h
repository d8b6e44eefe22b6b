/* A program at tc ingress of an interface; errors are returned as -errno.
 *
 * Since Linux 6.6 as a link, which dies with its last descriptor, however the process ends, and stands beside those of
 * others; first in line, since ours pass on all that they do not answer or refuse. Before, as a classifier on the
 * clsact hook, which outlives the process. Its handle and priority are ours alone: attaching replaces what an earlier
 * process of ours left, and detaching touches no other's. */
#ifndef ARPFAST_BPF_INGRESS_H
#define ARPFAST_BPF_INGRESS_H

#include <errno.h>
#include <stdint.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* Newer than Debian 12's <linux/bpf.h>. */
enum { INGRESS_TCX = 46, INGRESS_BEFORE = 1 << 3 };

/* Where a classifier is. */
struct ingress {
    uint32_t handle, priority;
};

static const struct ingress INGRESS_GUARD = {0x61727066, 0x6172}, INGRESS_ANSWER = {0x61727061, 0x6173};

/* The link's descriptor; -EINVAL or -EOPNOTSUPP before Linux 6.6. */
static int ingress_link(int program, uint32_t ifindex) {
    struct bpf_link_create_opts options = {.sz = sizeof options, .flags = INGRESS_BEFORE};
    int fd = bpf_link_create(program, (int)ifindex, (enum bpf_attach_type)INGRESS_TCX, &options);
    return fd < 0 ? -errno : fd;
}

/* The interface that a link, of XDP as well, holds on to; 0 if that was deleted: the index may be used again. */
static int64_t link_ifindex(int link) {
    struct bpf_link_info info = {0};
    uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(link, &info, &length)) return -errno;
    return info.xdp.ifindex; /* where `tcx.ifindex` lies as well, which Debian 12's header does not have */
}

static struct bpf_tc_hook ingress_hook(uint32_t ifindex) {
    return (struct bpf_tc_hook){
        .sz = sizeof(struct bpf_tc_hook), .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS};
}

static int ingress_classify(int program, uint32_t ifindex, struct ingress at) {
    struct bpf_tc_hook hook = ingress_hook(ifindex);
    int error = bpf_tc_hook_create(&hook);
    if (error && error != -EEXIST) return error;
    struct bpf_tc_opts options = {.sz = sizeof options,
                                  .prog_fd = program,
                                  .flags = BPF_TC_F_REPLACE,
                                  .handle = at.handle,
                                  .priority = at.priority};
    return bpf_tc_attach(&hook, &options);
}

/* Takes it off, if it is there. */
static int ingress_declassify(uint32_t ifindex, struct ingress at) {
    struct bpf_tc_hook hook = ingress_hook(ifindex);
    struct bpf_tc_opts options = {.sz = sizeof options, .handle = at.handle, .priority = at.priority};
    int error = bpf_tc_detach(&hook, &options);
    return error == -ENOENT || error == -ENODEV || error == -EINVAL ? 0 : error;
}

#endif
