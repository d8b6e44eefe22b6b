/* The thread's parts, one call each, for test_thread_parts.py: time and content are the test's. */
#include <stdlib.h>

#include "askers.h"
#include "facts.h"
#include "lease.h"
#include "queue.h"
#include "watch.h"

struct facts *parts_facts(void) {
    struct facts *facts = aligned_alloc(64, sizeof *facts);
    memset(facts, 0, sizeof *facts);
    facts_open(facts);
    return facts;
}

void parts_facts_free(struct facts *facts) {
    close(facts->wake);
    free(facts);
}

int parts_wake(struct facts *facts) {
    return facts->wake;
}
uint64_t parts_lost(struct facts *facts) {
    return facts->lost;
}

void parts_heard(struct facts *facts, uint64_t now_ns, int kind, uint32_t address, uint32_t mac) {
    struct fact fact = {.monotonic_ns = now_ns, .ifindex = 1, .kind = (uint8_t)kind, .version = 4};
    memcpy(fact.address, &address, 4);
    memcpy(fact.mac, &mac, 4);
    facts_heard(facts, &fact);
}

int parts_put(struct facts *facts) {
    return facts_put(facts, &(struct fact){.kind = FACT_SOCKET_FAILED}, 0);
}
void parts_tell(struct facts *facts) {
    facts_wake(facts);
}

int parts_take_all(struct facts *facts) {
    struct fact fact;
    int taken = 0;
    facts_listen(facts);
    while (facts_take(facts, &fact)) taken++;
    return taken;
}

struct asked *parts_asked(void) {
    return calloc(1, sizeof(struct asked));
}

void parts_note(struct asked *asked, int version, const uint8_t *address, uint64_t now_ns) {
    struct asker asker = {.monotonic_ns = now_ns, .version = (uint8_t)version};
    memcpy(asker.address, address, 16);
    asked_note(asked, &asker);
}

uint64_t parts_find(struct asked *asked, int version, const uint8_t *address) {
    struct asker asker;
    return asked_find(asked, (uint8_t)version, address, &asker) ? asker.monotonic_ns : 0;
}

/* Frames that a pace lets go by `until_ns` if the thread looks every `look_ns`, from an idle start at `now_ns`. */
uint64_t parts_pace(uint32_t rate_per_s, uint64_t now_ns, uint64_t until_ns, uint64_t look_ns) {
    struct pace pace = pace_of(rate_per_s);
    uint64_t sent = 0;
    pace_start(&pace, now_ns);
    for (; now_ns <= until_ns; now_ns += look_ns) {
        uint32_t frames = pace_allows(&pace, now_ns);
        pace_spend(&pace, frames);
        sent += frames;
    }
    return sent;
}

uint64_t parts_sleep_ns(uint32_t rate_per_s) {
    struct pace pace = pace_of(rate_per_s);
    pace_start(&pace, 1000000000u);
    pace_spend(&pace, pace_allows(&pace, 1000000000u));
    return pace_sleep_ns(&pace, 1000000000u);
}

/* A lease, and what it says when it is looked at. */
struct lease *parts_lease(uint64_t gap_ns, uint64_t now_ns) {
    struct lease *lease = calloc(1, sizeof *lease);
    lease_set(lease, gap_ns, now_ns);
    return lease;
}

int parts_look(struct lease *lease, uint64_t now_ns) {
    lease_look(lease, now_ns);
    return lease_frozen(lease);
}

int parts_holds(struct lease *lease, uint64_t now_ns) {
    return lease_holds(lease, now_ns);
}

void parts_settle(struct lease *lease, uint64_t freezes) {
    lease_settle(lease, freezes);
}

void parts_relet(struct lease *lease, uint64_t gap_ns, uint64_t now_ns) {
    lease_set(lease, gap_ns, now_ns);
}

uint64_t parts_freezes(struct lease *lease) {
    return lease->freezes;
}

/* A watch of three misses, and the link that it asks from. */
static const struct link parts_link = {
    .mac = {2, 0, 0, 0, 0, 1}, .has_link_local = 1, .link_local = {0xfe, 0x80, [13] = 0xff, [15] = 1}};

struct watch *parts_watch(int version, const uint8_t *address, const uint8_t *mac, uint64_t interval_ns) {
    struct watch *watch = watch_new();
    watch->version = (uint8_t)version;
    watch->misses = 3;
    watch->interval_ns = interval_ns;
    memcpy(watch->address, address, 16);
    memcpy(watch->mac, mac, 6);
    return watch;
}

void parts_watch_free(struct watch *watch) {
    watch_free(watch);
}

int parts_tick(struct watch *watch, uint64_t now_ns, int flooded) {
    return watch_tick(watch, now_ns, flooded);
}

void parts_ask(struct watch *watch, uint64_t now_ns, int sent) {
    watch_asked(watch, now_ns, sent);
}

int parts_answered(struct watch *watch, uint64_t now_ns) {
    return watch_heard(watch, now_ns);
}

uint64_t parts_due_ns(struct watch *watch) {
    return watch->due_ns;
}

int parts_flooded(struct watch *watch, uint64_t now_ns, uint64_t frames, uint64_t drops) {
    return watch_sees_flood(watch, now_ns, frames, drops);
}

int parts_question(struct watch *watch, uint8_t *frame, int with_link_local) {
    struct link link = parts_link;
    link.has_link_local = (uint8_t)with_link_local;
    return (int)watch_write(frame, &link, watch);
}

int parts_is_answer(struct watch *watch, const uint8_t *frame, uint32_t length) {
    return watch_is_answer(watch, &parts_link, frame, length);
}

struct askers *parts_askers(void) {
    return calloc(1, sizeof(struct askers));
}

void parts_note_asker(struct askers *askers, const uint8_t *mac, const uint8_t *address, uint64_t now_ns) {
    struct asker asker = {.monotonic_ns = now_ns, .version = 4, .ifindex = 7};
    memcpy(asker.mac, mac, 6);
    memcpy(asker.address, address, 16);
    askers_note(askers, &asker);
}

/* When the asker in this place asked, 0 if there is none; fills `mac`. */
uint64_t parts_asker(struct askers *askers, uint32_t place, uint8_t *mac) {
    struct asker asker;
    if (!askers_read(askers, place, &asker)) return 0;
    memcpy(mac, asker.mac, 6);
    return asker.monotonic_ns;
}
