"""The thread's C as Cython sees it: only what `responder.pyx` touches."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from arpfast.answer cimport guard_rate_t, link_t, table_t


cdef extern from "facts.h" nogil:
    enum:
        FACT_CONFLICT
        FACT_TAKEN
        FACT_CONFIRMED
        FACT_SOCKET_FAILED
        FACT_ROOM
        FACT_RIVAL
        FACT_FROZEN
        FACT_SILENT
        FACT_SPOKE
        FACT_SUSPENDED
        FACT_RESUMED
        FACT_INHERITED
        FACT_KINDS

    ctypedef struct fact_t "struct fact":
        uint64_t monotonic_ns
        uint64_t span_ns
        uint32_t ifindex
        int32_t error
        uint8_t kind
        uint8_t version
        uint8_t mac[6]
        uint8_t address[16]

    ctypedef struct facts_t "struct facts":
        int wake
        uint64_t lost
        uint64_t taken_lost

    void facts_listen(facts_t *facts) noexcept
    bint facts_take(facts_t *facts, fact_t *fact) noexcept


cdef extern from "asked.h" nogil:
    ctypedef struct asker_t "struct asker":
        uint64_t monotonic_ns
        uint32_t ifindex
        uint8_t version
        uint8_t mac[6]
        uint8_t address[16]

    ctypedef struct asked_t "struct asked":
        pass

    bint asked_find(asked_t *asked, uint8_t version, const uint8_t *address, asker_t *asker) noexcept


cdef extern from "askers.h" nogil:
    enum:
        ASKERS_SIZE

    ctypedef struct askers_t "struct askers":
        pass

    bint askers_read(const askers_t *askers, uint32_t place, asker_t *asker) noexcept


cdef extern from "queue.h" nogil:
    enum:
        MESSAGE_ANNOUNCE
        MESSAGE_PROBE
        MESSAGE_ASK
        MESSAGE_TELL
        MESSAGE_KINDS

    ctypedef struct message_t "struct message":
        uint32_t left
        uint8_t kind
        uint8_t version
        uint8_t address[16]
        uint8_t target[16]
        uint8_t mac[6]

    ctypedef struct queue_t "struct queue":
        pass

    ctypedef struct pace_t "struct pace":
        uint64_t interval_ns

    pace_t pace_of(uint32_t rate_per_s) noexcept
    bint queue_put(queue_t *queue, const message_t *message) noexcept
    uint32_t queue_clear(queue_t *queue) noexcept
    uint32_t queue_length(const queue_t *queue) noexcept


cdef extern from "port.h" nogil:
    enum:
        FAMILIES

    ctypedef enum family_t "enum family":
        pass

    const uint16_t family_protocol[2]

    ctypedef struct ring_t "struct ring":
        int fd

    ctypedef struct port_t "struct port":
        uint32_t ifindex
        ring_t ring[2]
        int ear[2]
        queue_t queue
        uint64_t verdicts[1]
        uint64_t sent[1]
        uint64_t send_errors
        uint64_t socket_errors
        uint64_t withheld
        uint64_t drops

    long ports_alive

    port_t *port_new(uint32_t ifindex) noexcept
    const char *port_open(port_t *port, uint32_t frames, const int *programs) noexcept
    void port_close(port_t *port) noexcept
    bint port_orphaned(const port_t *port) noexcept
    void port_count_drops(port_t *port) noexcept
    bint port_listen(port_t *port, family_t family, bint wanted) noexcept
    void port_free(port_t *port) noexcept
    bint ring_filter(int fd, uint16_t protocol, int program) noexcept


cdef extern from "estate.h" nogil:
    ctypedef struct bequest_t "struct bequest":
        uint32_t ifindex
        uint32_t count
        const table_t *table
        message_t *messages

    ctypedef struct estate_t "struct estate":
        bint inherited
        bequest_t bequests[1]

    long estates_alive

    estate_t *estate_new(uint32_t count, const uint32_t *messages) noexcept
    void estate_free(estate_t *estate) noexcept


cdef extern from "watch.h" nogil:
    ctypedef struct watch_t "struct watch":
        uint32_t ifindex
        uint32_t misses
        uint64_t interval_ns
        uint8_t version
        uint8_t mac[6]
        uint8_t address[16]
        estate_t *estate
        bint known
        bint mute
        bint silent
        bint suspended

    long watches_alive

    watch_t *watch_new() noexcept
    void watch_free(watch_t *watch) noexcept


cdef extern from "plan.h" nogil:
    ctypedef struct plan_entry_t "struct plan_entry":
        port_t *port
        const table_t *table
        link_t link

    ctypedef struct rates_t "struct rates":
        guard_rate_t each
        guard_rate_t all
        uint64_t send_interval_ns

    ctypedef struct plan_t "struct plan":
        uint64_t generation
        rates_t rates
        uint64_t lease_ns
        watch_t **watches
        estate_t **estates
        uint32_t count
        plan_entry_t entries[1]

    long plans_alive

    plan_t *plan_new(uint32_t count, uint32_t watches, uint32_t estates, uint64_t generation) noexcept
    void plan_free(plan_t *plan) noexcept


cdef extern from "lease.h" nogil:
    ctypedef struct lease_t "struct lease":
        uint64_t freezes
        uint64_t settled


cdef extern from "term.h" nogil:
    ctypedef struct term_t "struct term":
        pass


cdef extern from "loop.h" nogil:
    ctypedef struct watched_t "struct watched":
        uint64_t questions
        uint64_t answers
        uint64_t silences
        uint64_t suspensions
        uint64_t inherited

    ctypedef struct loop_t "struct loop":
        bint fifo
        asked_t asked
        askers_t askers
        facts_t facts
        lease_t lease
        term_t *term
        uint64_t outlive_ns
        watched_t watched

    long loops_alive

    loop_t *loop_new(uint64_t seed) noexcept
    int loop_start(loop_t *loop, bint fifo) noexcept
    plan_t *loop_publish(loop_t *loop, plan_t *plan) noexcept
    void loop_wait_adopted(loop_t *loop, uint64_t generation) noexcept
    uint64_t loop_beats(const loop_t *loop) noexcept
    void loop_settle(loop_t *loop, uint64_t freezes) noexcept
    void loop_ring(loop_t *loop) noexcept
    void loop_stop(loop_t *loop) noexcept
    void loop_free(loop_t *loop) noexcept
    uint64_t peek(const uint64_t *counter) noexcept
