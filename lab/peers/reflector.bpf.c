/*
 * The limit of what answers in the kernel: every question comes back as its answer, with the fewest bytes changed that
 * the generator's counter takes for one, and nothing looked up, checked or counted. A neighbour advertisement made so
 * has a wrong checksum and no hardware address of ours in it: a yardstick, not an answerer.
 *
 * reflect  at the answerer's end
 * pass     at the asker's: a veth takes frames that were sent by XDP_TX only if it has a program itself
 * drop     at the answerer's end: everybody's silence, the load without an answerer
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

static __always_inline void turn_round(__u8 *frame) {
    __u8 asker[6];
    __builtin_memcpy(asker, frame + 6, 6);
    __builtin_memcpy(frame + 6, frame, 6);
    frame[6] &= ~1; /* it was for a group, or everybody: nobody's hardware address */
    __builtin_memcpy(frame, asker, 6);
}

SEC("xdp")
int reflect(struct xdp_md *ctx) {
    __u8 *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (frame + 55 > end) return XDP_PASS;
    if (frame[12] == 0x08 && frame[13] == 0x06) {
        frame[21] = 2;
        __builtin_memcpy(frame + 28, frame + 38, 4);
    } else if (frame[12] == 0x86 && frame[13] == 0xdd && frame[20] == 58 && frame[54] == 135) {
        frame[54] = 136;
    } else {
        return XDP_PASS;
    }
    turn_round(frame);
    return XDP_TX;
}

SEC("xdp")
int pass(struct xdp_md *ctx) {
    (void)ctx;
    return XDP_PASS;
}

SEC("xdp")
int drop(struct xdp_md *ctx) {
    (void)ctx;
    return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
