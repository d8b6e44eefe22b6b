/*
 * The three ends of a flood in the kernel.
 *
 * generate  makes the questions: run by BPF_PROG_RUN with live frames upon the asker's interface, as if it had received
 *           them, and sends each by XDP_TX. Pages come back as the answerer left them: the whole frame is written anew.
 * arrive    at the answerer's end: counts what came. A veth takes native XDP frames only if it has a program at all.
 * collect   at the asker's end: counts answers to the sources and drops them; everything else goes its way.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "craft.h"

#define MAP(name, map_type, value_type, entries)                                                                       \
    struct {                                                                                                           \
        __uint(type, map_type);                                                                                        \
        __uint(max_entries, entries);                                                                                  \
        __type(key, __u32);                                                                                            \
        __type(value, value_type);                                                                                     \
    } name SEC(".maps")

MAP(settings, BPF_MAP_TYPE_ARRAY, struct settings, 1);
MAP(state, BPF_MAP_TYPE_ARRAY, struct state, 1);
MAP(counters, BPF_MAP_TYPE_PERCPU_ARRAY, struct counters, 1);
MAP(polite_asked, BPF_MAP_TYPE_ARRAY, __u64, SLOTS); /* when, by the target's low bits */
MAP(polite_state, BPF_MAP_TYPE_ARRAY, struct polite_state, 1);
MAP(polite_ns, BPF_MAP_TYPE_ARRAY, __u64, SAMPLES); /* how long each answer took */

static const __u32 ZERO = 0;

/* Due: 1, and *now is set if it had to be read. */
static __always_inline int is_due(const struct settings *s, struct state *st) {
    __u64 now = bpf_ktime_get_ns();
    if (now < st->next_ns) return 0;
    st->next_ns += s->interval_ns;
    if (st->next_ns + 1000000 < now) /* more than 1 ms behind: no burst to catch up */
        st->next_ns = now;
    return 1;
}

SEC("xdp")
int generate(struct xdp_md *ctx) {
    const struct settings *s = bpf_map_lookup_elem(&settings, &ZERO);
    struct state *st = bpf_map_lookup_elem(&state, &ZERO);
    if (!s || !st || (s->interval_ns && !is_due(s, st))) return XDP_DROP;
    __u64 n = st->sent++;
    __u64 index = s->count == 1 ? 0 : s->random ? bpf_get_prandom_u32() % s->count : n % s->count;
    __u64 target = s->first + index * s->stride;
    __u32 source = s->sources > 1 ? n % s->sources : 0;
    if (s->polite_ns && (n & 255) == 0) {
        __u64 now = bpf_ktime_get_ns();
        if (now - st->polite_last_ns >= s->polite_ns) {
            __u32 slot = target % SLOTS;
            __u64 *asked = bpf_map_lookup_elem(&polite_asked, &slot);
            if (asked) *asked = now;
            st->polite_last_ns = now;
            st->polite_sent++;
            source = s->sources;
        }
    }
    __u8 *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (s->version == 4) {
        if (frame + ARP_LENGTH > end) return XDP_ABORTED;
        craft4(frame, s, target, source);
    } else {
        if (frame + NS_LENGTH > end) return XDP_ABORTED;
        craft6(frame, s, target, source);
    }
    return XDP_TX;
}

SEC("xdp")
int arrive(struct xdp_md *ctx) {
    const struct settings *s = bpf_map_lookup_elem(&settings, &ZERO);
    struct counters *c = bpf_map_lookup_elem(&counters, &ZERO);
    const __u8 *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (s && c && frame + 12 <= end && get32(frame + 8) - s->mac <= s->sources) /* not the kernel's own MLD reports */
        c->arrived++;
    return XDP_PASS;
}

static __always_inline void note_polite(__u64 target) {
    __u32 slot = target % SLOTS;
    __u64 *asked = bpf_map_lookup_elem(&polite_asked, &slot);
    struct polite_state *polite = bpf_map_lookup_elem(&polite_state, &ZERO);
    if (!asked || !polite || !*asked) return;
    __u32 sample = __sync_fetch_and_add(&polite->samples, 1) % SAMPLES;
    __u64 *took = bpf_map_lookup_elem(&polite_ns, &sample);
    if (took) *took = bpf_ktime_get_ns() - *asked;
    *asked = 0;
}

SEC("xdp")
int collect(struct xdp_md *ctx) {
    const struct settings *s = bpf_map_lookup_elem(&settings, &ZERO);
    struct counters *c = bpf_map_lookup_elem(&counters, &ZERO);
    const __u8 *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u64 target = 0;
    enum answer_kind kind = read_answer(frame, end, &target);
    if (!s || !c || kind == ANSWER_NONE || frame + 6 > end) return XDP_PASS;
    /* farpd answers to everybody. */
    __u32 source = kind == ANSWER_ARP && get32(frame + 2) == 0xffffffff ? 0 : get32(frame + 2) - s->mac;
    if (source > s->sources) return XDP_PASS;
    if (kind == ANSWER_ARP)
        c->arp++;
    else
        c->na++;
    if (!is_target(s, target))
        c->wrong++;
    else if (s->polite_ns && source == s->sources) {
        c->polite++;
        note_polite(target);
    }
    return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
