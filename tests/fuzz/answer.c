/* Whatever arrives: answer() reads nothing beyond the frame, writes nothing unless it replies, nothing beyond the
 * capacity, and what it writes is a frame that a peer can only take for a valid reply.
 *
 * An input is one byte that picks the capacity and the interface, and a frame. For Neighbor Discovery the checksum is
 * put right in every input whose first bit says so: no fuzzer guesses one. The frame lies at the end of a block of its
 * own, so the address sanitizer sees the first byte beyond. */
#include <stdio.h>

#include "answer.h"
#include "build.h"
#include "messages.h"

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static const uint8_t OUR_MAC[6] = {2, 0, 0, 0, 0, 1};

static struct members members = {.mask = 1, .slot = {0, 0}}; /* filled by build() */

static struct link links[2] = {
    {.mac = {2, 0, 0, 0, 0, 1}},
    {.mac = {2, 0, 0, 0, 0, 1},
     .router = 1,
     .kin_count = 1,
     .kin = {{2, 0, 0, 0, 0, 2}},
     .link_local = {0xfe, 0x80, [15] = 1},
     .has_link_local = 1,
     .nonce = {10, 11, 12, 13, 14, 15},
     .members = &members},
};

static struct table *table;

/* The addresses of tests/arpfast/scene.py: own, proxied and tentative in both families. */
static void build(void) {
    static const struct interval own4[] = {{0, 0xc000020a, 0, 0xc000020a}};
    static const struct interval proxy4[] = {{0, 0, 0, 0x00ffffff}, {0, 0xc6336400, 0, 0xffffffff}};
    static const struct interval tentative4[] = {{0, 0xc0000214, 0, 0xc0000214}};
    static const struct interval own6[] = {{0x20010db800000000, 0x10, 0x20010db800000000, 0x10}};
    static const struct interval proxy6[] = {
        {0, 0, 0, ~0ull}, {0x20010db800010000, 0, 0x20010db80001ffff, ~0ull}, {0xff00000000000000, 0, ~0ull, ~0ull}};
    static const struct interval tentative6[] = {{0x20010db800000000, 0x20, 0x20010db800000000, 0x20}};
    struct intervals ipv4[4] = {[KIND_OWN] = {own4, 1}, [KIND_PROXY] = {proxy4, 2}, [KIND_TENTATIVE] = {tentative4, 1}};
    struct intervals ipv6[4] = {[KIND_OWN] = {own6, 1}, [KIND_PROXY] = {proxy6, 3}, [KIND_TENTATIVE] = {tentative6, 1}};
    table = table_build(ipv4, ipv6);
    members_add(&members, (const uint8_t[6]){2, 0, 0, 0, 0, 3});
    REQUIRE(table);
}

static void mend_checksum(uint8_t *frame, size_t length) {
    if (length < ND_OPTIONS_AT) return;
    struct nd_frame *nd = (struct nd_frame *)frame;
    uint32_t payload = net16(nd->ipv6.payload_length);
    if (payload % 8 || payload > length - ND_AT || payload < sizeof(struct nd)) return;
    nd->nd.checksum = 0;
    nd->nd.checksum = (uint16_t)~nd_sum(&nd->ipv6, &nd->nd, payload / 8);
}

/* What holds for a reply, said by itself and not by how it is made. */
static void check_reply(const uint8_t *frame, const struct outcome *outcome) {
    const struct arp_frame *arp = (const struct arp_frame *)frame;
    const struct nd_frame *nd = (const struct nd_frame *)frame;
    REQUIRE(memcmp(frame + 6, OUR_MAC, 6) == 0);
    REQUIRE(memcmp(frame, OUR_MAC, 6) != 0);
    if (outcome->version == 4) {
        uint32_t target = net32(load32(arp->arp.spa));
        REQUIRE(outcome->reply_length == 60 && arp->ethernet.type == net16(TYPE_ARP));
        REQUIRE(mac_is_unicast(frame) && memcmp(frame, arp->arp.tha, 6) == 0);
        REQUIRE(arp->arp.op == net16(ARP_REPLY) && memcmp(arp->arp.sha, OUR_MAC, 6) == 0);
        REQUIRE(target == 0xc000020a || (target >= 0xc6336400 && target >> 28 != 0xe && target != 0xffffffff) ||
                (target && target < 0x01000000));
        for (size_t i = 0; i < sizeof arp->padding; i++) REQUIRE(arp->padding[i] == 0);
        return;
    }
    REQUIRE(outcome->version == 6 && outcome->reply_length == 86 && nd->ethernet.type == net16(TYPE_IPV6));
    REQUIRE(nd->nd.type == ND_ADVERTISE && nd->nd.code == 0 && nd->ipv6.hop_limit == 255);
    REQUIRE(nd_sum(&nd->ipv6, &nd->nd, 4) == 0xffff);
    REQUIRE(!ip6_is_multicast(nd->nd.target) && !ip6_is_unspecified(nd->nd.target));
    REQUIRE(!ip6_is_multicast(nd->ipv6.source) && !ip6_is_unspecified(nd->ipv6.source));
    REQUIRE(mac_is_group(frame) == ip6_is_multicast(nd->ipv6.destination));
    REQUIRE(((nd->nd.flags & net32(ND_SOLICITED)) == 0) == ip6_is_multicast(nd->ipv6.destination));
    REQUIRE(nd->option.type == ND_OPTION_TARGET && memcmp(nd->option.value, OUR_MAC, 6) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!table) build();
    if (size == 0 || size > 2048) return 0;
    size_t length = size - 1, capacity = data[0] & 2 ? data[0] >> 1 : 2048;
    size_t room = length > capacity ? length : capacity;
    uint8_t *frame = malloc(room ? room : 1), *before = malloc(room ? room : 1);
    REQUIRE(frame && before);
    memset(frame, 0xa5, room);
    memcpy(frame, data + 1, length);
    if (data[0] & 1) mend_checksum(frame, length);
    memcpy(before, frame, room);

    struct outcome outcome;
    const struct link *link = &links[data[0] >> 7];
    enum verdict verdict = answer(table, link, frame, (uint32_t)length, (uint32_t)capacity, &outcome);
    REQUIRE(verdict < VERDICT_COUNT && verdict != VERDICT_LIMITED && verdict != VERDICT_FROZEN);
    REQUIRE((verdict == VERDICT_REPLY) == (outcome.reply_length != 0));
    REQUIRE(outcome.reply_length <= capacity);
    REQUIRE(memcmp(frame + outcome.reply_length, before + outcome.reply_length, room - outcome.reply_length) == 0);
    if (verdict == VERDICT_REPLY) check_reply(frame, &outcome);

    /* The same once more in a block that ends with the frame: nothing beyond it may have mattered. */
    uint8_t *tight = malloc(length ? length : 1);
    REQUIRE(tight);
    memcpy(tight, before, length);
    struct outcome again;
    uint32_t tight_capacity = (uint32_t)(length < capacity ? length : capacity);
    enum verdict tightly = answer(table, link, tight, (uint32_t)length, tight_capacity, &again);
    REQUIRE(tightly == verdict || (tightly == VERDICT_NO_ROOM && verdict == VERDICT_REPLY));
    free(tight);
    free(before);
    free(frame);
    return 0;
}
