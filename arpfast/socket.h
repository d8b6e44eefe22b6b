/* One packet socket with its receive ring: all that one interface hears of one family.
 *
 * The order of opening is the point: protocol 0 at socket(2) hears nothing, so the filter and the ring are in place
 * before bind(2) lets the first frame in. A protocol-bound socket never hears what this host sends, and the kernel has
 * taken VLAN tags off before it sees a frame, leaving no trace but the packet type OTHERHOST; the filters below drop
 * those, and so does the reader.
 *
 * The ring is TPACKET_V2: it wakes the reader for every frame, where V3 lets a lone request wait until a block's timer
 * ends. A slot has room for 190 bytes of frame, twice what a solicitation usually needs; the kernel queues a longer one
 * (SEND options) beside the ring as well, and says so in the slot. */
#ifndef ARPFAST_SOCKET_H
#define ARPFAST_SOCKET_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SLOT_SIZE = 256, RING_BLOCK = 1 << 16 };

struct ring {
    int fd; /* -1: closed */
    uint32_t frames;
    uint32_t next; /* the slot that the kernel fills next */
    uint8_t *memory;
};

#define REFUSE_TAGGED(to_end)                                                                                          \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),                                       \
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, PACKET_OTHERHOST, (to_end), 0)

/* Requests and replies, of Ethernet and IPv4 (RFC 826). A load beyond the frame's end refuses it. */
static const struct sock_filter arp_filter[] = {
    REFUSE_TAGGED(8),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 14),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x00010800, 0, 6),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 18),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0604, 0, 4),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0x40000),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

/* Neighbour solicitations and advertisements right behind the IPv6 header (RFC 4861). */
static const struct sock_filter nd_filter[] = {
    REFUSE_TAGGED(6),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 4),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 54),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 135, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0x40000),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

#undef REFUSE_TAGGED

/* What answers a watch (watch.h): ARP replies that were sent to us alone, and to no address. */
static const struct sock_filter arp_ear_filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 0, 7),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 14),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x00010800, 0, 5),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 18),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x06040002, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 38),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0x40000),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

/* Neighbour advertisements that were sent to us alone. */
static const struct sock_filter nd_ear_filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 0, 5),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 3),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 54),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0x40000),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

/* Replaces the filter in one step: no frame passes unfiltered or is lost in between. `program` is the descriptor of an
 * eBPF socket filter, or -1 for the classic one above. */
static inline bool ring_filter(int fd, uint16_t protocol, int program) {
    if (program >= 0) return setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof program) == 0;
    struct sock_fprog classic = {sizeof nd_filter / sizeof *nd_filter, (struct sock_filter *)nd_filter};
    if (protocol == ETH_P_ARP)
        classic = (struct sock_fprog){sizeof arp_filter / sizeof *arp_filter, (struct sock_filter *)arp_filter};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &classic, sizeof classic) == 0;
}

static inline void ring_close(struct ring *ring) {
    if (ring->memory) munmap(ring->memory, (size_t)ring->frames * SLOT_SIZE);
    if (ring->fd >= 0) close(ring->fd);
    ring->memory = NULL;
    ring->fd = -1;
}

static inline bool set_option(int fd, int option, int value) {
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof value) == 0;
}

/* Returns NULL, or what could not be done, with errno. `frames` is a power of two, at least 256. */
static inline const char *ring_open(struct ring *ring, uint32_t ifindex, uint16_t protocol, uint32_t frames,
                                    int program) {
    *ring = (struct ring){.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), .frames = frames};
    if (ring->fd < 0) return "open a packet socket";
    const char *failed = NULL;
    struct tpacket_req request = {.tp_block_size = RING_BLOCK,
                                  .tp_block_nr = frames / (RING_BLOCK / SLOT_SIZE),
                                  .tp_frame_size = SLOT_SIZE,
                                  .tp_frame_nr = frames};
    struct sockaddr_ll interface = {
        .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = (int)ifindex};
    size_t size = (size_t)frames * SLOT_SIZE;
    /* A larger send buffer is welcome, but not needed: the kernel caps it without a word. */
    int send_buffer = 1 << 20;
    setsockopt(ring->fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    if (!ring_filter(ring->fd, protocol, program))
        failed = "attach the filter to a packet socket";
    else if (!set_option(ring->fd, PACKET_VERSION, TPACKET_V2) || !set_option(ring->fd, PACKET_IGNORE_OUTGOING, 1) ||
             !set_option(ring->fd, PACKET_QDISC_BYPASS, 1) || !set_option(ring->fd, PACKET_COPY_THRESH, SLOT_SIZE))
        failed = "set up a packet socket";
    else if (setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0)
        failed = "get memory for a receive ring";
    else if ((ring->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0)) == MAP_FAILED) {
        ring->memory = NULL;
        failed = "map a receive ring";
    } else if (bind(ring->fd, (struct sockaddr *)&interface, sizeof interface) != 0)
        failed = "bind a packet socket";
    if (failed) {
        int error = errno;
        ring_close(ring);
        errno = error;
    }
    return failed;
}

/* A small socket without a ring, for the answers to watches: its descriptor, or -1 with errno. */
static inline int ear_open(uint32_t ifindex, uint16_t protocol) {
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sock_fprog filter = {sizeof nd_ear_filter / sizeof *nd_ear_filter, (struct sock_filter *)nd_ear_filter};
    struct sockaddr_ll interface = {
        .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = (int)ifindex};
    if (protocol == ETH_P_ARP)
        filter =
            (struct sock_fprog){sizeof arp_ear_filter / sizeof *arp_ear_filter, (struct sock_filter *)arp_ear_filter};
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0 &&
        bind(fd, (struct sockaddr *)&interface, sizeof interface) == 0)
        return fd;
    int error = errno;
    if (fd >= 0) close(fd);
    errno = error;
    return -1;
}

/* Frames lost since the last call, because the ring or the buffer was full. Whoever calls, the kernel counts anew. */
static inline uint32_t socket_drops(int fd) {
    struct tpacket_stats counted = {0};
    socklen_t size = sizeof counted;
    if (fd < 0 || getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &counted, &size) != 0) return 0;
    return counted.tp_drops;
}

/* Whether the interface is gone for good. One that is merely down comes back by itself: the kernel hooks the socket in
 * again. */
static inline bool ring_orphaned(const struct ring *ring) {
    struct sockaddr_ll bound;
    socklen_t size = sizeof bound;
    return getsockname(ring->fd, (struct sockaddr *)&bound, &size) != 0 || bound.sll_ifindex <= 0;
}

/* Takes the error that a socket waits to report (and that would wake poll for ever). */
static inline int ring_error(const struct ring *ring) {
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(ring->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

#endif
