"""Table, Link and answer() for Python: what decides hands over a Table; tests and tools ask answer() for a verdict.

This module owns memory and translates; every decision is in the headers. A Table may be read by any thread, without the
GIL, for as long as somebody holds a reference to it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsUnsignedLongLong
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from enum import IntEnum
from typing import NamedTuple

from arpfast.spans import Spans


cdef extern from *:
    """
    #include "verdict.h"
    #define VERDICT_TEXT(name, meaning) {#name, meaning},
    static const struct verdict_text { const char *name, *meaning; } verdict_texts[] = {VERDICTS(VERDICT_TEXT)};
    """
    struct verdict_text:
        const char *name
        const char *meaning
    const verdict_text verdict_texts[]

cdef extern from "Python.h":
    unsigned long long PyLong_AsUnsignedLongLongMask(object number) except? -1
    PyObject *PyTuple_GET_ITEM(object pair, Py_ssize_t at)  # borrowed, and of any subclass: Cython unpacks those slowly

cdef extern from "build.h" nogil:
    ctypedef struct interval_t "struct interval":
        uint64_t first_high
        uint64_t first_low
        uint64_t last_high
        uint64_t last_low

    ctypedef struct intervals_t "struct intervals":
        const interval_t *at
        size_t count

    table_t *table_build(const intervals_t *ipv4, const intervals_t *ipv6) noexcept


Verdict = IntEnum("Verdict", {verdict_texts[i].name.decode(): i for i in range(VERDICT_COUNT)}, module=__name__)
Verdict.__doc__ = "What became of a frame; `MEANINGS` says what each means."

MEANINGS = {Verdict(i): verdict_texts[i].meaning.decode() for i in range(VERDICT_COUNT)}


class Kind(IntEnum):
    """What an address is to us; see table.h."""

    OWN = KIND_OWN
    PROXY = KIND_PROXY
    TENTATIVE = KIND_TENTATIVE


class Outcome(NamedTuple):
    """What answer() found: the verdict and what was learnt with it."""

    verdict: Verdict
    reply: bytes | None
    version: int
    mac: bytes
    address: int


cdef size_t split(tuple spans, interval_t *intervals, size_t *ipv4) except? 0:
    """Write the spans, IPv4 first as they are sorted, as intervals; returns how many, and how many are of IPv4."""
    cdef size_t count = 0
    cdef interval_t *interval
    ipv4[0] = 0
    for span in spans:
        first = <object>PyTuple_GET_ITEM(span, 1)
        last = <object>PyTuple_GET_ITEM(span, 2)
        interval = &intervals[count]
        if <object>PyTuple_GET_ITEM(span, 0) == 4:
            ipv4[0] += 1
            interval.first_high = interval.last_high = 0
            interval.first_low = PyLong_AsUnsignedLongLong(first)
            interval.last_low = PyLong_AsUnsignedLongLong(last)
        else:
            interval.first_high = PyLong_AsUnsignedLongLong(first >> 64)
            interval.first_low = PyLong_AsUnsignedLongLongMask(first)
            if last is first:
                interval.last_high, interval.last_low = interval.first_high, interval.first_low
            else:
                interval.last_high = PyLong_AsUnsignedLongLong(last >> 64)
                interval.last_low = PyLong_AsUnsignedLongLongMask(last)
        count += 1
    return count


cdef class Table:
    """What each address is to us. Immutable; built once, in time and memory that do not depend on the spans' sizes."""

    def __cinit__(self, own=None, proxy=None, tentative=None):
        cdef intervals_t ipv4[4]
        cdef intervals_t ipv6[4]
        cdef size_t total = 0, count, of_ipv4 = 0
        cdef int kind
        empty = Spans()
        kinds = (empty, own or empty, proxy or empty, tentative or empty)
        self.spans = kinds[1:]
        for spans in kinds:
            total += len(spans.spans)
        cdef interval_t *intervals = <interval_t *>malloc((total + 1) * sizeof(interval_t))
        if intervals is NULL:
            raise MemoryError("no memory for a table")
        try:
            total = 0
            for kind in range(4):
                count = split(kinds[kind].spans, intervals + total, &of_ipv4)
                ipv4[kind].at, ipv4[kind].count = intervals + total, of_ipv4
                ipv6[kind].at, ipv6[kind].count = intervals + total + of_ipv4, count - of_ipv4
                total += count
            with nogil:
                self.table = table_build(ipv4, ipv6)
        finally:
            free(intervals)
        if self.table is NULL:
            raise MemoryError("no memory for a table")

    def __dealloc__(self):
        free(self.table)

    @staticmethod
    def union(tables):
        """A table of all that any of the tables has, each address as the one that hides the others."""
        cdef Table table
        gathered = ([], [], [])
        for table in tables:
            for spans, same in zip(table.spans, gathered, strict=True):
                same.extend(spans.spans)
        return Table(*map(Spans, gathered))

    @property
    def empty(self):
        """Whether it has no address."""
        return not any(self.spans)

    @property
    def settled(self):
        """Whether no address of it is being probed."""
        return not self.spans[2]

    @property
    def nbytes(self):
        """What it takes in memory."""
        return self.table.word[TABLE_WORDS] * sizeof(uint64_t)

    def words(self):
        """The block of words itself, as table.h lays it out, in this machine's byte order."""
        return PyBytes_FromStringAndSize(<const char *>self.table, self.nbytes)

    def find(self, address):
        """What an `ipaddress` object is to us: a Kind, or None."""
        cdef bytes packed = address.packed
        cdef kind_t kind
        if address.version == 4:
            kind = table_find4(self.table, <uint32_t>int(address))
        else:
            kind = table_find6(self.table, <const uint8_t *>PyBytes_AS_STRING(packed))
        return Kind(kind) if kind != KIND_NONE else None


cdef int put(uint8_t *field, bytes value, Py_ssize_t length, str name) except -1:
    if PyBytes_GET_SIZE(value) != length:
        raise ValueError(f"expected {length} bytes of {name}, not {len(value)}")
    memcpy(field, PyBytes_AS_STRING(value), length)
    return 0


cdef class Members:
    """The hardware addresses of our ring's other members. Immutable."""

    def __cinit__(self, macs=()):
        cdef uint32_t slots
        macs = frozenset(macs)
        if len(macs) > MEMBERS_MAX:
            raise ValueError(f"expected at most {MEMBERS_MAX} hardware addresses of members, not {len(macs)}")
        slots = members_slots(len(macs))
        self.members = <members_t *>calloc(1, sizeof(members_t) + slots * sizeof(uint64_t))
        if self.members is NULL:
            raise MemoryError("no memory for the members")
        self.members.mask = slots - 1
        for mac in macs:
            if len(mac) != 6:
                raise ValueError(f"expected 6 bytes of a member's mac, not {len(mac)}")
            members_add(self.members, <const uint8_t *>PyBytes_AS_STRING(mac))

    def __dealloc__(self):
        free(self.members)


cdef class Link:
    """One interface of ours, as answer() sees it. Immutable."""

    def __cinit__(self, bytes mac not None, *, bint router=False, bytes link_local=None, kin=(), bytes nonce=b"",
                  Members members=None):
        memset(&self.link, 0, sizeof(self.link))
        put(self.link.mac, mac, 6, "mac")
        self.link.router = router
        if link_local is not None:
            put(self.link.link_local, link_local, 16, "link_local")
            self.link.has_link_local = 1
        kin = tuple(kin)
        if len(kin) > LINK_KIN:
            raise ValueError(f"expected at most {LINK_KIN} kin, not {len(kin)}")
        for relative in kin:
            put(self.link.kin[self.link.kin_count], relative, 6, "kin")
            self.link.kin_count += 1
        if nonce:
            put(self.link.nonce, nonce, 6, "nonce")
        if members is not None:
            self.members = members
            self.link.members = members.members

    @property
    def mac(self):
        """Its hardware address."""
        return PyBytes_FromStringAndSize(<const char *>self.link.mac, 6)


cdef class Guard:
    """The token buckets of guard.h, for tests: rates are answers a second, 0 for no limit; bursts are answers."""

    cdef guard_t *guard

    def __cinit__(self, *, uint32_t each=0, uint32_t each_burst=1, uint32_t total=0, uint32_t total_burst=1, seed=0):
        self.guard = <guard_t *>malloc(sizeof(guard_t))
        if self.guard is NULL:
            raise MemoryError("no memory for a guard")
        guard_reset(self.guard, guard_rate(each, each_burst), guard_rate(total, total_burst), seed)

    def __dealloc__(self):
        free(self.guard)

    def admit(self, bytes mac not None, now_ns):
        """Whether a question from `mac` that arrived at `now_ns` may be answered."""
        if PyBytes_GET_SIZE(mac) != 6:
            raise ValueError(f"expected 6 bytes of mac, not {len(mac)}")
        return guard_admit(self.guard, <const uint8_t *>PyBytes_AS_STRING(mac), now_ns)


def answer(Table table not None, Link link not None, bytes frame not None, *, capacity=None):
    """What becomes of a frame that came in by `link`; `capacity` bytes may be written, by default as many as needed."""
    cdef uint32_t length = <uint32_t>len(frame)
    cdef uint32_t room = max(length, <uint32_t>FRAME_ROOM) if capacity is None else capacity
    cdef outcome_t outcome
    cdef verdict_t verdict
    cdef uint8_t *buffer = <uint8_t *>malloc(max(length, room) + 1)
    if buffer is NULL:
        raise MemoryError("no memory for a frame")
    try:
        memcpy(buffer, PyBytes_AS_STRING(frame), length)
        verdict = c_answer(table.table, &link.link, buffer, length, room, &outcome)
        reply = PyBytes_FromStringAndSize(<char *>buffer, outcome.reply_length) if verdict == VERDICT_REPLY else None
        address = outcome.address[:4] if outcome.version == 4 else outcome.address[:16]
        return Outcome(Verdict(verdict), reply, outcome.version,
                       PyBytes_FromStringAndSize(<char *>outcome.mac, 6), int.from_bytes(address, "big"))
    finally:
        free(buffer)


ctypedef uint32_t (*writer_t)(void *frame, const link_t *link, const uint8_t *address) noexcept nogil


cdef bytes written(Link link, bytes address, writer_t four, writer_t six):
    """The frame about one address that the writer of its family makes."""
    cdef uint8_t[86] frame
    cdef writer_t write = four if len(address) == 4 else six
    cdef uint32_t length = write(frame, &link.link, <const uint8_t *>PyBytes_AS_STRING(address))
    return PyBytes_FromStringAndSize(<char *>frame, length)


def announcement(Link link not None, address):
    """The frame that announces an address: request-form gratuitous ARP, or unsolicited advertisement."""
    return written(link, address.packed, message_announce4, message_announce6)


def probe(Link link not None, address):
    """The frame that asks whether anybody has an address: ARP probe, or duplicate address detection."""
    return written(link, address.packed, message_probe4, message_probe6)


def question(Link link not None, address, target):
    """The frame that asks, from an address of ours, for the hardware address of a neighbour."""
    cdef uint8_t frame[86]
    cdef bytes packed = address.packed, packed_target = target.packed
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(packed)
    cdef const uint8_t *whom = <const uint8_t *>PyBytes_AS_STRING(packed_target)
    if len(packed) != len(packed_target):
        raise ValueError(f"expected a target of the family of {address}, not {target}")
    cdef uint32_t length = (message_ask4(frame, &link.link, at, whom) if len(packed) == 4 else
                            message_ask6(frame, &link.link, at, whom))
    return PyBytes_FromStringAndSize(<char *>frame, length)
