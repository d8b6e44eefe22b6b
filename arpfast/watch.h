/* Whether another host still answers, found out from the wire: every few milliseconds it is asked, by unicast, for an
 * address of its own, and so many intervals in a row without an answer are silence.
 *
 * To accuse a host that lives is worse than to miss one that died, so silence counts only where it proves something:
 *   - a question that could not be sent (our own cable, perhaps) is none;
 *   - intervals begin when the question is out, and who comes to look later than by one more begins anew;
 *   - while frames are lost here, or more come than a link has in peace, questions and answers are lost as well: the
 *     watch is suspended until as many intervals as make silence have passed without.
 * What is here is pure: it takes the time and returns what is new. succession.h asks, listens and acts. */
#ifndef ARPFAST_WATCH_H
#define ARPFAST_WATCH_H

#include "estate.h"
#include "messages.h"
#include "nd.h"

/* More frames than this are a flood: per millisecond, and in one go. */
enum { FLOOD_PER_MS = 50, FLOOD_AT_ONCE = 500 };

struct plan_entry;

struct watch {
    uint32_t ifindex;
    uint32_t misses; /* that make silence */
    uint64_t interval_ns;
    uint8_t version;
    uint8_t mac[6];        /* the owner's */
    uint8_t address[16];   /* that the owner answers for; IPv4 in the first four */
    struct estate *estate; /* what is ours if it falls silent; NULL: only tell */

    const struct plan_entry *entry;  /* from here on the thread's own; NULL: the interface has no link */
    uint64_t due_ns;                 /* the next question; 0: at once, and nothing before it counts */
    uint64_t heard_ns;               /* the last answer; 0: never */
    uint64_t seen_ns, frames, drops; /* at the last look at the load */
    uint32_t missed;
    uint32_t calm; /* intervals without a flood, while suspended */
    bool known;    /* has answered at least once, to this watch or the one before it */
    bool mute;     /* was silent when it was watched before, and nobody has told of an answer since */
    bool asked, answered;
    bool silent, suspended; /* Python may look */
};

static long watches_alive;

static inline struct watch *watch_new(void) {
    struct watch *watch = calloc(1, sizeof *watch);
    watches_alive += watch != NULL;
    return watch;
}

static inline void watch_free(struct watch *watch) {
    if (watch) watches_alive--;
    free(watch);
}

enum watch_news { WATCH_NOTHING, WATCH_SILENT, WATCH_SUSPENDED, WATCH_RESUMED };

/* Begins anew, but for what has been told. */
static inline void watch_restart(struct watch *watch) {
    watch->due_ns = watch->seen_ns = 0;
    watch->missed = 0;
    watch->asked = watch->answered = false;
}

/* Whether there was a flood since the last look, by how many frames the interface has had in all, and lost in all. */
static inline bool watch_sees_flood(struct watch *watch, uint64_t now_ns, uint64_t frames, uint64_t drops) {
    uint64_t in_peace = FLOOD_AT_ONCE + (now_ns - watch->seen_ns) * FLOOD_PER_MS / 1000000;
    bool flooded = watch->seen_ns && (drops != watch->drops || frames - watch->frames > in_peace);
    watch->seen_ns = now_ns;
    watch->frames = frames;
    watch->drops = drops;
    return flooded;
}

/* An interval is over, and all answers that came have been heard; the next question is to be asked. */
static inline enum watch_news watch_tick(struct watch *watch, uint64_t now_ns, bool flooded) {
    bool proof = watch->asked && !watch->answered && now_ns - watch->due_ns <= watch->interval_ns;
    watch->asked = watch->answered = false;
    if (!proof || flooded || watch->suspended) watch->missed = 0;
    if (flooded) {
        watch->calm = 0;
        if (watch->suspended) return WATCH_NOTHING;
        watch->suspended = true;
        return WATCH_SUSPENDED;
    }
    if (watch->suspended) {
        if (++watch->calm < watch->misses) return WATCH_NOTHING;
        watch->suspended = false;
        return WATCH_RESUMED;
    }
    if (!proof || watch->silent || ++watch->missed < watch->misses) return WATCH_NOTHING;
    watch->silent = true;
    return WATCH_SILENT;
}

/* The question has left, or could not; an interval begins. */
static inline void watch_asked(struct watch *watch, uint64_t now_ns, bool sent) {
    watch->asked = sent;
    watch->due_ns = now_ns + watch->interval_ns;
}

/* An answer; returns whether it ends a silence. */
static inline bool watch_heard(struct watch *watch, uint64_t now_ns) {
    bool silent = watch->silent || watch->mute;
    watch->answered = watch->known = true;
    watch->silent = watch->mute = false;
    watch->missed = 0;
    watch->heard_ns = now_ns;
    return silent;
}

/* Writes the question: an ARP probe, or a solicitation as of neighbour unreachability detection; returns its length, 0
 * if there is no address to ask from. It makes no claim to anything, and leaves no trace in the owner's memory. */
static inline uint32_t watch_write(void *frame, const struct link *link, const struct watch *watch) {
    if (watch->version == 4) return message_watch4(frame, link, watch->mac, watch->address);
    return link->has_link_local ? message_watch6(frame, link, watch->mac, watch->address) : 0;
}

static inline bool watch_is_answer4(const struct watch *watch, const struct link *link, const uint8_t *frame,
                                    uint32_t length) {
    const struct arp *arp = (const struct arp *)(frame + sizeof(struct ethernet));
    if (length < sizeof(struct ethernet) + sizeof *arp || load16(frame + 12) != net16(TYPE_ARP)) return false;
    return arp->hrd == net16(ARP_ETHERNET) && arp->pro == net16(ARP_IPV4) && arp->hln == 6 && arp->pln == 4 &&
           arp->op == net16(ARP_REPLY) && load32(arp->tpa) == 0 && load32(arp->spa) == load32(watch->address) &&
           mac_number(arp->sha) == mac_number(watch->mac) && mac_number(arp->tha) == mac_number(link->mac);
}

static inline bool watch_is_answer6(const struct watch *watch, const struct link *link, const uint8_t *frame,
                                    uint32_t length) {
    const struct nd_frame *nd = (const struct nd_frame *)frame;
    if (length < ND_OPTIONS_AT || nd->ethernet.type != net16(TYPE_IPV6)) return false;
    uint32_t payload = net16(nd->ipv6.payload_length);
    return nd->ipv6.next_header == IPPROTO_ICMP6 && nd->ipv6.hop_limit == ND_HOP_LIMIT && nd->nd.type == ND_ADVERTISE &&
           nd->nd.code == 0 && nd->nd.flags & net32(ND_SOLICITED) && payload >= sizeof(struct nd) && payload % 8 == 0 &&
           payload <= length - ND_AT && ip6_equal(nd->nd.target, watch->address) &&
           ip6_equal(nd->ipv6.destination, link->link_local) && nd_sum(&nd->ipv6, &nd->nd, payload / 8) == 0xffff;
}

/* Whether a frame is the owner's answer to this watch, from the hardware address that it is watched at. */
static inline bool watch_is_answer(const struct watch *watch, const struct link *link, const uint8_t *frame,
                                   uint32_t length) {
    if (length < sizeof(struct ethernet) || mac_number(frame) != mac_number(link->mac) ||
        mac_number(frame + 6) != mac_number(watch->mac))
        return false;
    return watch->version == 4 ? watch_is_answer4(watch, link, frame, length)
                               : watch_is_answer6(watch, link, frame, length);
}

#endif
