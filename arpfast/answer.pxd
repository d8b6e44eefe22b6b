"""What the responder's thread shares with answer(): the C of its headers, and the classes that own what it reads.

Only the fields that Cython code touches are declared.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "members.h" nogil:
    enum:
        MEMBERS_MAX

    ctypedef struct members_t "struct members":
        uint32_t mask
        uint64_t slot[1]

    uint32_t members_slots(uint32_t count) noexcept
    void members_add(members_t *members, const uint8_t *mac) noexcept


cdef extern from "verdict.h" nogil:
    enum:
        LINK_KIN

    ctypedef enum verdict_t "enum verdict":
        VERDICT_REPLY
        VERDICT_CONFLICT
        VERDICT_TAKEN
        VERDICT_RIVAL
        VERDICT_CONFIRMED
        VERDICT_LOOPED
        VERDICT_TENTATIVE
        VERDICT_LIMITED
        VERDICT_COUNT

    ctypedef struct link_t "struct link":
        uint8_t mac[6]
        uint8_t router
        uint8_t kin_count
        uint8_t kin[32][6]
        uint8_t link_local[16]
        uint8_t has_link_local
        const members_t *members
        uint8_t nonce[6]

    ctypedef struct outcome_t "struct outcome":
        uint16_t reply_length
        uint8_t version
        uint8_t mac[6]
        uint8_t address[16]


cdef extern from "table.h" nogil:
    ctypedef enum kind_t "enum kind":
        KIND_NONE
        KIND_OWN
        KIND_PROXY
        KIND_TENTATIVE

    enum:
        TABLE_WORDS

    ctypedef struct table_t "struct table":
        uint64_t word[1]

    kind_t table_find4(const table_t *table, uint32_t address) noexcept
    kind_t table_find6(const table_t *table, const uint8_t *address) noexcept


cdef extern from "answer.h" nogil:
    enum:
        FRAME_ROOM

    verdict_t c_answer "answer"(
        const table_t *table, const link_t *link, uint8_t *frame, uint32_t length, uint32_t capacity,
        outcome_t *outcome) noexcept


cdef extern from "messages.h" nogil:
    uint32_t message_announce4(void *frame, const link_t *link, const uint8_t *address) noexcept
    uint32_t message_probe4(void *frame, const link_t *link, const uint8_t *address) noexcept
    uint32_t message_ask4(void *frame, const link_t *link, const uint8_t *address, const uint8_t *target) noexcept
    uint32_t message_announce6(void *frame, const link_t *link, const uint8_t *address) noexcept
    uint32_t message_probe6(void *frame, const link_t *link, const uint8_t *address) noexcept
    uint32_t message_ask6(void *frame, const link_t *link, const uint8_t *address, const uint8_t *target) noexcept


cdef extern from "guard.h" nogil:
    ctypedef struct guard_rate_t "struct guard_rate":
        pass

    ctypedef struct guard_t "struct guard":
        pass

    guard_rate_t guard_rate(uint32_t rate_per_s, uint32_t burst) noexcept
    void guard_reset(guard_t *guard, guard_rate_t each, guard_rate_t all, uint64_t seed) noexcept
    bint guard_admit(guard_t *guard, const uint8_t *mac, uint64_t now_ns) noexcept


cdef class Table:
    cdef table_t *table  # never written once built; freed with the object
    cdef tuple spans  # that it was built from: own, proxied, tentative


cdef class Members:
    cdef members_t *members  # likewise


cdef class Link:
    cdef link_t link
    cdef Members members  # what `link` points to
