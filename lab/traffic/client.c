/*
 * A client that never stops asking: probes every address, and says what was lost and which host answered.
 *
 *   client addresses=A,B,… [port=7] [every_ns=2000000] [patience_ns=100000000] [live=1]
 *
 * Each address is a stream of its own, probed every `every_ns`; the streams take turns, evenly spaced. A probe without
 * an answer is lost once it is older than the patience. A stream's probes are settled in the order in which they were
 * sent, and all times are those of sending (CLOCK_MONOTONIC): an outage lasts from its first lost probe to the next
 * one that was answered, and a spell from the first to the last probe in a row that one host answered.
 *
 * What has arrived is read before anything is taken for lost, so that a client which was not scheduled for a while
 * blames nobody for it; probes that it then is late for are skipped, and its longest pause is told.
 *
 * Says "ready", with `live` then a line for each loss, return and change of host, and when ended (SIGTERM) all of it
 * as one line of JSON.
 */
#define _GNU_SOURCE
#include "probe.h"

#define STREAMS_MAX 4096
#define RECORDS_MAX (1 << 16)
#define WAKE_NS     1000000 /* many streams are due more often than it is worth waking */

struct slot {
    __u64 sent_ns;
    __u32 host; /* 0: not answered */
};

struct stream {
    const char *name;
    struct sockaddr_in6 address; /* or a sockaddr_in at its start */
    struct slot *slots;
    __u64 next, oldest; /* sequence numbers: those from `oldest` on are not settled */
    __u64 out_ns, lost; /* of the outage that lasts */
    __u64 first_ns, last_ns, count;
    __u32 host; /* with these, of the spell that lasts */
};

struct outage {
    __u32 stream, before, after;
    __u64 began_ns, ended_ns, lost;
};

struct spell {
    __u32 stream, host;
    __u64 first_ns, last_ns, count;
};

static struct stream streams[STREAMS_MAX];
static unsigned many;
static __u64 slots_mask, port, patience_ns, live;
static struct outage outages[RECORDS_MAX];
static struct spell spells[RECORDS_MAX];
static __u64 outages_many, spells_many, forgotten;
static __u64 sent, answered, lost, late, doubled, skipped, unsent, pause_ns;

static void keep_outage(struct stream *s, __u64 ended_ns, __u32 after) {
    if (live && ended_ns)
        printf("{\"event\": \"back\", \"address\": \"%s\", \"at_ns\": %llu, \"host\": %u, \"began_ns\": %llu}\n",
               s->name, ended_ns, after, s->out_ns);
    if (outages_many == RECORDS_MAX)
        forgotten++;
    else
        outages[outages_many++] = (struct outage){s - streams, s->host, after, s->out_ns, ended_ns, s->lost};
    s->out_ns = s->lost = 0;
}

static void keep_spell(struct stream *s) {
    if (!s->count) return;
    if (spells_many == RECORDS_MAX)
        forgotten++;
    else
        spells[spells_many++] = (struct spell){s - streams, s->host, s->first_ns, s->last_ns, s->count};
}

static void settle_one(struct stream *s, const struct slot *slot) {
    if (!slot->host) {
        lost++;
        if (!s->out_ns) {
            s->out_ns = slot->sent_ns;
            if (live)
                printf("{\"event\": \"lost\", \"address\": \"%s\", \"at_ns\": %llu, \"host\": %u}\n", s->name,
                       slot->sent_ns, s->host);
        }
        s->lost++;
        return;
    }
    answered++;
    if (s->out_ns) keep_outage(s, slot->sent_ns, slot->host);
    if (s->host != slot->host || !s->count) {
        keep_spell(s);
        s->host = slot->host;
        s->first_ns = slot->sent_ns;
        s->count = 0;
        if (live)
            printf("{\"event\": \"host\", \"address\": \"%s\", \"at_ns\": %llu, \"host\": %u}\n", s->name,
                   slot->sent_ns, s->host);
    }
    s->last_ns = slot->sent_ns;
    s->count++;
}

static void settle(struct stream *s, __u64 now) {
    for (; s->oldest < s->next; s->oldest++) {
        const struct slot *slot = &s->slots[s->oldest & slots_mask];
        if (!slot->host && now < slot->sent_ns + patience_ns) return;
        settle_one(s, slot);
    }
}

static int same_address(const struct stream *s, const struct sockaddr_in6 *from) {
    const struct sockaddr_in *from4 = (const void *)from, *to4 = (const void *)&s->address;
    if (from->sin6_family != s->address.sin6_family) return 0;
    if (from->sin6_family == AF_INET) return from4->sin_addr.s_addr == to4->sin_addr.s_addr;
    return !memcmp(&from->sin6_addr, &s->address.sin6_addr, 16);
}

static void drain(int file) {
    struct probe probe;
    for (;;) {
        struct sockaddr_in6 from;
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(file, &probe, sizeof probe, 0, (struct sockaddr *)&from, &length);
        if (got < 0) return;
        if (got != sizeof probe || probe.magic != PROBE_MAGIC || probe.stream >= many || !probe.host) continue;
        struct stream *s = &streams[probe.stream];
        if (probe.seq >= s->next || s->next - probe.seq > slots_mask || !same_address(s, &from)) continue;
        struct slot *slot = &s->slots[probe.seq & slots_mask];
        if (slot->host)
            doubled++;
        else if (probe.seq < s->oldest)
            late++;
        else
            slot->host = probe.host;
    }
}

static void ask(struct stream *s, const int *files) {
    struct probe probe = {.magic = PROBE_MAGIC, .stream = s - streams, .seq = s->next};
    int is4 = s->address.sin6_family == AF_INET;
    s->slots[s->next++ & slots_mask] = (struct slot){now_ns(), 0};
    sent++;
    if (sendto(files[!is4], &probe, sizeof probe, 0, (struct sockaddr *)&s->address,
               is4 ? sizeof(struct sockaddr_in) : sizeof s->address) < 0)
        unsent++; /* and so lost: the client's own network is out of order */
}

static void sleep_until(__u64 then) {
    struct timespec when = {then / 1000000000, then % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static void read_addresses(char *list) {
    for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
        if (many == STREAMS_MAX) {
            fprintf(stderr, "expected at most %d addresses\n", STREAMS_MAX);
            exit(2);
        }
        struct stream *s = &streams[many++];
        struct sockaddr_in *four = (void *)&s->address;
        s->name = word;
        s->slots = calloc(slots_mask + 1, sizeof *s->slots);
        if (inet_pton(AF_INET, word, &four->sin_addr) == 1) {
            four->sin_family = AF_INET;
            four->sin_port = htons(port);
        } else if (inet_pton(AF_INET6, word, &s->address.sin6_addr) == 1) {
            s->address.sin6_family = AF_INET6;
            s->address.sin6_port = htons(port);
        } else {
            fprintf(stderr, "expected an address, not %s\n", word);
            exit(2);
        }
    }
}

static void report(void) {
    printf("{\"sent\": %llu, \"answered\": %llu, \"lost\": %llu, \"late\": %llu, \"doubled\": %llu, "
           "\"skipped\": %llu, \"unsent\": %llu, \"pause_ns\": %llu, \"forgotten\": %llu, \"outages\": [",
           sent, answered, lost, late, doubled, skipped, unsent, pause_ns, forgotten);
    for (__u64 n = 0; n < outages_many; n++) {
        const struct outage *o = &outages[n];
        printf("%s[\"%s\", %llu, %llu, %llu, %u, %u]", n ? ", " : "", streams[o->stream].name, o->began_ns, o->ended_ns,
               o->lost, o->before, o->after);
    }
    printf("], \"spells\": [");
    for (__u64 n = 0; n < spells_many; n++) {
        const struct spell *s = &spells[n];
        printf("%s[\"%s\", %llu, %llu, %llu, %u]", n ? ", " : "", streams[s->stream].name, s->first_ns, s->last_ns,
               s->count, s->host);
    }
    printf("]}\n");
}

int main(int argc, char **argv) {
    (void)argc;
    __u64 every_ns = number(argv, "every_ns", 2000000), slots = 64;
    port = number(argv, "port", 7);
    patience_ns = number(argv, "patience_ns", 100000000);
    live = number(argv, "live", 0);
    while (slots < 2 * patience_ns / every_ns + 2) slots *= 2;
    slots_mask = slots - 1;
    read_addresses(strdup(required(argv, "addresses")));
    int files[] = {datagram_socket(AF_INET), datagram_socket(AF_INET6)};
    end_by_signal();
    go_first();
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    printf("ready\n");
    __u64 start = now_ns(), turn = 0, woke = start;
    while (many && !ended) {
        __u64 due = start + turn * every_ns / many;
        sleep_until(due > woke + WAKE_NS ? due : woke + WAKE_NS);
        __u64 now = now_ns();
        if (now - woke > pause_ns) pause_ns = now - woke;
        woke = now;
        for (int n = 0; n < 2; n++) drain(files[n]);
        for (unsigned n = 0; n < many; n++) settle(&streams[n], now);
        __u64 reached = (now - start) * many / every_ns;
        if (turn + many <= reached) {
            __u64 kept = reached - (reached - turn) % many;
            skipped += kept - turn;
            turn = kept;
        }
        for (; turn <= reached; turn++) ask(&streams[turn % many], files);
    }
    for (__u64 until = now_ns() + patience_ns; now_ns() < until + WAKE_NS;) {
        sleep_until(now_ns() + WAKE_NS);
        __u64 now = now_ns(), open = 0;
        for (int n = 0; n < 2; n++) drain(files[n]);
        for (unsigned n = 0; n < many; n++) {
            settle(&streams[n], now);
            open += streams[n].next - streams[n].oldest;
        }
        if (!open) break;
    }
    for (unsigned n = 0; n < many; n++) {
        settle(&streams[n], ~0ull);
        if (streams[n].out_ns) keep_outage(&streams[n], 0, 0);
        keep_spell(&streams[n]);
    }
    report();
    return 0;
}
