/*
 * Asks the whole segment, again and again, who has each address, and notes every hardware address that says so.
 *
 *   witness interface=IF questions=FILE [every_ns=10000000] [gap_ns=100000000]
 *
 * Each line of the file has an address and the frame that asks for it, in hexadecimal. A claim is a reply, an
 * advertisement or a gratuitous ARP. Claims for an address by the same hardware address that follow each other within
 * the gap are a spell; two spells of different hardware addresses that overlap are two owners. Times are those at which
 * the kernel received (CLOCK_MONOTONIC to within the reading of two clocks), so being late to read changes nothing.
 *
 * Says "ready", and when ended (SIGTERM) one line of JSON.
 */
#define _GNU_SOURCE
#include "probe.h"

#define ADDRESSES_MAX 4096
#define CLAIMANTS_MAX 8
#define SPELLS_MAX    (1 << 16)
#define FRAME_MAX     128
#define WAKE_NS       1000000

struct claimant {
    __u8 mac[6];
    __u64 first_ns, last_ns, replies, announcements;
};

struct address {
    __u8 key[16]; /* an IPv4 address at its end, behind zeros */
    char name[INET6_ADDRSTRLEN];
    __u8 frame[FRAME_MAX];
    unsigned length, claimants_many;
    struct claimant claimants[CLAIMANTS_MAX];
};

struct spell {
    const struct address *address;
    struct claimant by;
};

static struct address addresses[ADDRESSES_MAX];
static struct spell spells[SPELLS_MAX];
static unsigned many;
static __u64 spells_many, forgotten, asked, gap_ns, unread;

static int by_key(const void *a, const void *b) {
    return memcmp(((const struct address *)a)->key, ((const struct address *)b)->key, 16);
}

static void read_questions(const char *path) {
    FILE *file = fopen(path, "r");
    char hex[2 * FRAME_MAX + 1];
    if (!file) fail(path);
    for (; many < ADDRESSES_MAX && fscanf(file, "%45s %256s", addresses[many].name, hex) == 2; many++) {
        struct address *a = &addresses[many];
        unsigned byte;
        for (; sscanf(hex + 2 * a->length, "%2x", &byte) == 1; a->length++) a->frame[a->length] = byte;
        if (inet_pton(AF_INET, a->name, a->key + 12) != 1 && inet_pton(AF_INET6, a->name, a->key) != 1) fail(a->name);
    }
    fclose(file);
    qsort(addresses, many, sizeof *addresses, by_key);
}

static void keep(const struct address *a, const struct claimant *by) {
    if (spells_many == SPELLS_MAX)
        forgotten++;
    else
        spells[spells_many++] = (struct spell){a, *by};
}

static void claim(const __u8 *key, const __u8 *mac, int announced, __u64 at_ns) {
    struct address wanted;
    memcpy(wanted.key, key, 16);
    struct address *a = bsearch(&wanted, addresses, many, sizeof *addresses, by_key);
    if (!a) return;
    struct claimant *by = a->claimants;
    while (by < a->claimants + a->claimants_many && memcmp(by->mac, mac, 6)) by++;
    if (by == a->claimants + CLAIMANTS_MAX) {
        forgotten++;
        return;
    }
    if (by == a->claimants + a->claimants_many) {
        a->claimants_many++;
        memcpy(by->mac, mac, 6);
    }
    if (by->first_ns && at_ns > by->last_ns + gap_ns) {
        keep(a, by);
        by->first_ns = by->replies = by->announcements = 0;
    }
    if (!by->first_ns) by->first_ns = at_ns;
    by->last_ns = at_ns;
    ++*(announced ? &by->announcements : &by->replies);
}

static void read_arp(const __u8 *frame, unsigned length, __u64 at_ns) {
    __u8 key[16] = {0};
    if (length < 42) return;
    int reply = frame[21] == 2, gratuitous = !memcmp(frame + 28, frame + 38, 4);
    if (!reply && !gratuitous) return;
    memcpy(key + 12, frame + 28, 4);
    claim(key, frame + 22, gratuitous, at_ns);
}

static void read_advertisement(const __u8 *frame, unsigned length, __u64 at_ns) {
    const __u8 *mac = frame + 6;
    if (length < 78 || frame[20] != 58 || frame[54] != 136) return;
    for (unsigned at = 78; at + 8 <= length && frame[at + 1]; at += 8 * frame[at + 1])
        if (frame[at] == 2) mac = frame + at + 2;
    claim(frame + 62, mac, !(frame[58] & 0x40), at_ns);
}

/* What is to be added to the kernel's clock for packets to have ours. */
static __s64 clock_difference_ns(void) {
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    return (__s64)now_ns() - (__s64)(real.tv_sec * 1000000000ull + real.tv_nsec);
}

static void drain(int file) {
    __s64 difference_ns = clock_difference_ns();
    for (;;) {
        __u8 frame[2048];
        char control[CMSG_SPACE(sizeof(struct timespec))];
        struct iovec part = {frame, sizeof frame};
        struct sockaddr_ll from;
        struct msghdr message = {&from, sizeof from, &part, 1, control, sizeof control, 0};
        ssize_t length = recvmsg(file, &message, MSG_DONTWAIT);
        if (length < 0) break;
        struct cmsghdr *stamp = CMSG_FIRSTHDR(&message);
        if (from.sll_pkttype == PACKET_OUTGOING || !stamp) continue;
        struct timespec real;
        memcpy(&real, CMSG_DATA(stamp), sizeof real);
        __u64 at_ns = real.tv_sec * 1000000000ull + real.tv_nsec + difference_ns;
        if (ntohs(from.sll_protocol) == 0x0806) read_arp(frame, length, at_ns);
        if (ntohs(from.sll_protocol) == 0x86dd) read_advertisement(frame, length, at_ns);
    }
    struct tpacket_stats statistics;
    socklen_t size = sizeof statistics;
    if (!getsockopt(file, SOL_PACKET, PACKET_STATISTICS, &statistics, &size)) unread += statistics.tp_drops;
}

static void report(void) {
    printf("{\"asked\": %llu, \"unread\": %llu, \"forgotten\": %llu, \"spells\": [", asked, unread, forgotten);
    for (__u64 n = 0; n < spells_many; n++) {
        const struct claimant *by = &spells[n].by;
        const __u8 *mac = by->mac;
        printf("%s[\"%s\", \"%02x:%02x:%02x:%02x:%02x:%02x\", %llu, %llu, %llu, %llu]", n ? ", " : "",
               spells[n].address->name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], by->first_ns, by->last_ns,
               by->replies, by->announcements);
    }
    printf("]}\n");
}

int main(int argc, char **argv) {
    (void)argc;
    __u64 every_ns = number(argv, "every_ns", 10000000);
    gap_ns = number(argv, "gap_ns", 100000000);
    read_questions(required(argv, "questions"));
    int file = packet_socket(interface_index(argv, "interface"), 0x0003), bytes = 8 << 20, on = 1;
    if (setsockopt(file, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) ||
        setsockopt(file, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on))
        fail("packet socket");
    end_by_signal();
    go_first();
    printf("ready\n");
    fflush(stdout);
    __u64 start = now_ns(), turn = 0;
    while (many && !ended) {
        __u64 due = start + turn * every_ns / many, soonest = now_ns() + WAKE_NS;
        __u64 then = due > soonest ? due : soonest;
        struct timespec when = {then / 1000000000, then % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
        drain(file);
        __u64 reached = (now_ns() - start) * many / every_ns;
        if (turn + many < reached) turn = reached - many;
        for (; turn <= reached; turn++, asked++) {
            const struct address *a = &addresses[turn % many];
            send(file, a->frame, a->length, 0); /* while its own cable is out, nobody hears and nobody answers */
        }
    }
    drain(file);
    for (unsigned n = 0; n < many; n++)
        for (unsigned m = 0; m < addresses[n].claimants_many; m++)
            if (addresses[n].claimants[m].first_ns) keep(&addresses[n], &addresses[n].claimants[m]);
    report();
    return 0;
}
