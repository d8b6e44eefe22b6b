/*
 * The least that answers: a plain loop of recv() and send(), as one would write it in an afternoon. The yardstick of
 * the benchmarks, not an example: it validates hardly anything.
 *
 *   cloop INTERFACE FIRST LAST
 *
 * Answers ARP or neighbour solicitations, as the family of the addresses says, for FIRST..LAST (one /64) from the
 * interface's own MAC.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static uint8_t mac[6], first[16], last[16];

static void fail(const char *attempted) {
    perror(attempted);
    exit(1);
}

static int answer_arp(uint8_t *frame, ssize_t length) {
    if (length < 42 || frame[20] || frame[21] != 1 || memcmp(frame + 38, first, 4) < 0 ||
        memcmp(frame + 38, last, 4) > 0)
        return 0;
    uint8_t target[4];
    memcpy(target, frame + 38, 4);
    memcpy(frame, frame + 22, 6);
    memcpy(frame + 6, mac, 6);
    frame[21] = 2;
    memcpy(frame + 32, frame + 22, 10);
    memcpy(frame + 22, mac, 6);
    memcpy(frame + 28, target, 4);
    return length < 60 ? 42 : 60;
}

static uint16_t checksum(const uint8_t *frame, int length) {
    uint32_t sum = 58 + length - 54;
    for (int at = 22; at < length; at += 2) sum += frame[at] << 8 | frame[at + 1];
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

static int answer_nd(uint8_t *frame, ssize_t length) {
    static const uint8_t unspecified[16], all_nodes[16] = {0xff, 2, [15] = 1};
    if (length < 78 || frame[20] != 58 || frame[21] != 255 || frame[54] != 135 || memcmp(frame + 62, first, 16) < 0 ||
        memcmp(frame + 62, last, 16) > 0)
        return 0;
    int probe = !memcmp(frame + 22, unspecified, 16);
    memcpy(frame + 38, probe ? all_nodes : frame + 22, 16);
    memcpy(frame + 22, frame + 62, 16);
    memcpy(frame, probe ? (const uint8_t *)"\x33\x33\0\0\0\1" : frame + 6, 6);
    memcpy(frame + 6, mac, 6);
    frame[18] = 0;
    frame[19] = 32;
    memcpy(frame + 54, (uint8_t[]){136, 0, 0, 0, probe ? 0x20 : 0x60, 0, 0, 0}, 8);
    memcpy(frame + 78, (uint8_t[]){2, 1}, 2);
    memcpy(frame + 80, mac, 6);
    uint16_t sum = checksum(frame, 86);
    frame[56] = sum >> 8;
    frame[57] = sum;
    return 86;
}

int main(int argc, char **argv) {
    if (argc != 4) return fputs("usage: cloop INTERFACE FIRST LAST\n", stderr), 2;
    int family = strchr(argv[2], ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, argv[2], first) != 1 || inet_pton(family, argv[3], last) != 1)
        return fputs("expected two addresses of one family\n", stderr), 2;
    int protocol = family == AF_INET ? ETH_P_ARP : ETH_P_IPV6;
    int file = socket(AF_PACKET, SOCK_RAW, 0);
    struct ifreq request = {0};
    strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
    if (file < 0 || ioctl(file, SIOCGIFHWADDR, &request)) fail(argv[1]);
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol)};
    address.sll_ifindex = if_nametoindex(argv[1]);
    if (bind(file, (struct sockaddr *)&address, sizeof address)) fail("bind");
    puts("ready");
    fflush(stdout);
    uint8_t frame[2048];
    for (;;) {
        ssize_t length = recv(file, frame, sizeof frame, 0);
        int reply = length < 0 ? 0 : family == AF_INET ? answer_arp(frame, length) : answer_nd(frame, length);
        if (reply) send(file, frame, reply, 0);
    }
}
