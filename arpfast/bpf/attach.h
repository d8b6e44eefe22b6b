/* How the answering programs come to an interface and leave it; errors are returned as -errno. As links, which die with
 * their last descriptor or pin, however the process ends, and stand beside those of others; a classifier in place of
 * one (ingress.h) outlives the process, but not its term. */
#ifndef ARPFAST_BPF_ATTACH_H
#define ARPFAST_BPF_ATTACH_H

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "ingress.h"
#include "maps.h"

enum way { WAY_NATIVE, WAY_GENERIC, WAY_TC };

/* The link's descriptor. -EBUSY: an XDP program that is not ours is there. */
static int way_link(int program, uint32_t ifindex, enum way way) {
    if (way == WAY_TC) return ingress_link(program, ifindex);
    struct bpf_link_create_opts options = {.sz = sizeof options,
                                           .flags = way == WAY_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE};
    int fd = bpf_link_create(program, (int)ifindex, BPF_XDP, &options);
    return fd < 0 ? -errno : fd;
}

static int way_replace(int link, int program) {
    return bpf_link_update(link, program, NULL) ? -errno : 0;
}

static int way_pin(int link, const char *path) {
    return bpf_obj_pin(link, path) ? -errno : 0;
}

static int way_pinned(const char *path) {
    int fd = bpf_obj_get(path);
    return fd < 0 ? -errno : fd;
}

static int way_classify(int program, uint32_t ifindex) {
    return ingress_classify(program, ifindex, INGRESS_ANSWER);
}

static int way_declassify(uint32_t ifindex) {
    return ingress_declassify(ifindex, INGRESS_ANSWER);
}

/* What an interface's driver is called, and whether it takes VLAN tags off before any program sees the frame. */
struct driver {
    char name[32];
    int strips;
};

static int driver_read(uint32_t ifindex, struct driver *driver) {
    struct ethtool_drvinfo information = {.cmd = ETHTOOL_GDRVINFO};
    struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};
    struct ifreq request = {0};
    *driver = (struct driver){{0}, 0};
    if (!if_indextoname(ifindex, request.ifr_name)) return -errno;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    request.ifr_data = (void *)&information;
    if (!ioctl(fd, SIOCETHTOOL, &request)) memcpy(driver->name, information.driver, sizeof driver->name - 1);
    request.ifr_data = (void *)&flags;
    if (!ioctl(fd, SIOCETHTOOL, &request)) driver->strips = (flags.data & ETH_FLAG_RXVLAN) != 0;
    close(fd);
    return 0;
}

/* The values of a map in our own memory; NULL with errno. */
static void *map_memory(int map, size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static int tally_total(int map, uint32_t key, int cpus, uint64_t *values, uint64_t *total) {
    if (bpf_map_lookup_elem(map, &key, values)) return -errno;
    *total = 0;
    for (int i = 0; i < cpus; i++) *total += values[i];
    return 0;
}

#endif
