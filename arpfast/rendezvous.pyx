"""Roll and Poll for Python: what is elected, and who stands for it, in C's memory. `arpfast.election` says why.

This module owns memory and translates; roll.h and rendezvous.h count and choose. Nothing changes once it is made. What
is said of each unit is `bytes` of 32-bit integers in this machine's order, one a unit: a candidate's index, or -1.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsUnsignedLongLong
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from enum import IntEnum
from hashlib import blake2b

from arpfast.spans import Span


cdef extern from "Python.h":
    unsigned long long PyLong_AsUnsignedLongLongMask(object number) except? -1
    PyObject *PyTuple_GET_ITEM(object pair, Py_ssize_t at)

cdef extern from "roll.h" nogil:
    ctypedef struct roll_address:
        pass

    ctypedef struct run_t "struct roll_run":
        roll_address first
        roll_address last
        uint32_t start
        uint8_t version
        bint whole

    roll_address roll_number(uint64_t high, uint64_t low) noexcept
    uint64_t roll_hash(uint8_t version, roll_address first, roll_address last) noexcept
    uint64_t roll_hash_nth(const run_t *run, uint32_t nth) noexcept
    size_t roll_seek(const run_t *runs, size_t count, uint8_t version, roll_address address) noexcept
    bint roll_cut(const run_t *runs, size_t count, size_t at, uint8_t version, roll_address first,
                  roll_address last, uint32_t *start, uint32_t *stop) noexcept

cdef extern from "rendezvous.h" nogil:
    enum:
        FITNESS_ABLE
        FITNESS_STANDBY
        FITNESS_HOLDING
        FITNESS_DRAINED
        FITNESS_UNHEALTHY
        FITNESS_DRAINED_AND_UNHEALTHY
        FITNESS_REFUSED
        NOBODY

    ctypedef struct poll_t "struct poll":
        uint32_t units
        uint32_t candidates
        uint32_t classes
        const uint64_t *hash
        const uint32_t *class_of "class"
        const uint64_t *name_hash
        const uint32_t *weight
        const uint32_t *grade
        const uint8_t *fitness
        const uint8_t *gone
        const int32_t *holder

    uint8_t poll_fitness(const poll_t *poll, uint32_t class_of, uint32_t candidate) noexcept
    bint poll_believed(const poll_t *poll, uint32_t unit, uint32_t a, uint32_t b) noexcept
    bint poll_balanced(const poll_t *poll, int32_t *owner) noexcept
    bint poll_first(const poll_t *poll, const uint8_t *const *columns, int32_t *owner) noexcept


UNITS_AT_MOST = 1 << 28  # so that levels, times weights, fit into 64 bits


class Fitness(IntEnum):
    """How a candidate stands towards a unit, from the best to the worst; see rendezvous.h."""

    ABLE = FITNESS_ABLE
    STANDBY = FITNESS_STANDBY
    HOLDING = FITNESS_HOLDING
    DRAINED = FITNESS_DRAINED
    UNHEALTHY = FITNESS_UNHEALTHY
    DRAINED_AND_UNHEALTHY = FITNESS_DRAINED_AND_UNHEALTHY
    REFUSED = FITNESS_REFUSED


cdef struct span_t:
    uint8_t version
    roll_address first
    roll_address last


cdef int read(object span, span_t *into) except -1:
    """Write a Span as numbers. Its parts are borrowed from the tuple that it is: Cython unpacks a subclass slowly."""
    first, last = <object>PyTuple_GET_ITEM(span, 1), <object>PyTuple_GET_ITEM(span, 2)
    into.version = 4 if <object>PyTuple_GET_ITEM(span, 0) == 4 else 6
    into.first = roll_number(0 if into.version == 4 else PyLong_AsUnsignedLongLong(first >> 64),
                             PyLong_AsUnsignedLongLongMask(first))
    into.last = into.first
    if last is not first:
        into.last = roll_number(0 if into.version == 4 else PyLong_AsUnsignedLongLong(last >> 64),
                                PyLong_AsUnsignedLongLongMask(last))
    return 0


cdef class Roll:
    """All units, in the order of their addresses: `runs` are spans, each of whose addresses is a unit, but for those
    that `wholes` maps from their place in `runs`; these are anchors of whole spans. Runs are disjoint and in order.
    """

    cdef run_t *runs
    cdef uint64_t *hash
    cdef uint32_t count
    cdef tuple spans

    def __cinit__(self, tuple runs not None, dict wholes not None):
        cdef size_t at = 0
        cdef uint32_t each
        cdef span_t span
        cdef uint64_t units = sum([1 if place in wholes else run.size for place, run in enumerate(runs)])
        if units > UNITS_AT_MOST:
            raise ValueError(f"expected at most {UNITS_AT_MOST} units, not {units}")
        self.spans = runs
        self.runs = <run_t *>calloc(len(runs) + 1, sizeof(run_t))
        self.hash = <uint64_t *>calloc(units + 1, sizeof(uint64_t))
        if self.runs is NULL or self.hash is NULL:
            raise MemoryError("no memory for what is to be elected")
        for at in range(<size_t>len(runs)):
            read(runs[at], &span)
            self.runs[at].version, self.runs[at].first, self.runs[at].last = span.version, span.first, span.last
            self.runs[at].start, self.runs[at].whole = self.count, at in wholes
            if self.runs[at].whole:
                read(wholes[at], &span)
                self.hash[self.count] = roll_hash(span.version, span.first, span.last)
                self.count += 1
            else:
                for each in range(<uint32_t>runs[at].size):
                    self.hash[self.count] = roll_hash_nth(&self.runs[at], each)
                    self.count += 1

    def __dealloc__(self):
        free(self.runs)
        free(self.hash)

    def __len__(self):
        return self.count

    cdef size_t seek(self, const span_t *span) noexcept:
        return roll_seek(self.runs, len(self.spans), span.version, span.first)

    cdef bint cut(self, size_t at, const span_t *span, uint32_t *start, uint32_t *stop) noexcept:
        return roll_cut(self.runs, len(self.spans), at, span.version, span.first, span.last, start, stop)

    def ranges(self, spans):
        """The units whose addresses, or anchors, lie in `Spans`: from, to (excluded), in order, no two that touch."""
        cdef span_t span
        cdef size_t at
        cdef uint32_t start = 0, stop = 0, begun = 0, reached = 0
        found = []
        for each in spans.spans:
            read(each, &span)
            at = self.seek(&span)
            while self.cut(at, &span, &start, &stop):
                at += 1
                if start == reached:
                    reached = stop
                    continue
                if begun < reached:
                    found.append((begun, reached))
                begun, reached = start, stop
        if begun < reached:
            found.append((begun, reached))
        return found

    def gather(self, bytes labels not None, uint32_t count):
        """For each label below `count`, the spans of the units that have it: single addresses joined to runs. Of whole
        units, their places in `runs` are given, as the second of each pair.
        """
        cdef const int32_t *label = <const int32_t *>PyBytes_AS_STRING(labels)
        cdef size_t at
        cdef uint32_t unit, stop, begun
        if PyBytes_GET_SIZE(labels) != <Py_ssize_t>(self.count * sizeof(int32_t)):
            raise ValueError(f"expected labels for {self.count} units, not {len(labels)} bytes")
        gathered = [([], []) for _ in range(count)]
        for at in range(<size_t>len(self.spans)):
            unit = self.runs[at].start
            stop = self.runs[at + 1].start if at + 1 < <size_t>len(self.spans) else self.count
            if self.runs[at].whole:
                if 0 <= label[unit] < <int32_t>count:
                    gathered[label[unit]][1].append(at)
                continue
            version, first, _ = self.spans[at]
            while unit < stop:
                begun = unit
                while unit < stop and label[unit] == label[begun]:
                    unit += 1
                if 0 <= label[begun] < <int32_t>count:
                    start = first + (begun - self.runs[at].start)
                    last = start + (unit - begun - 1) if unit - begun > 1 else start
                    gathered[label[begun]][0].append(tuple.__new__(Span, (version, start, last)))
        return gathered


cdef class Poll:
    """Who stands for the units of a roll. Candidates are given in the order of their names; `fitnesses` are rows of one
    `Fitness` a candidate, and `segments` says from which unit on which row holds.
    """

    cdef Roll roll
    cdef poll_t poll
    cdef uint64_t *name_hash
    cdef uint32_t *weight
    cdef uint32_t *grade
    cdef uint32_t *class_of
    cdef bytes fitnesses

    def __cinit__(self, Roll roll not None, names, weights, grades, fitnesses, segments):
        cdef uint32_t at, start, stop, row
        self.roll = roll
        self.fitnesses = b"".join(fitnesses)
        self.poll.units, self.poll.candidates, self.poll.classes = roll.count, len(names), len(fitnesses)
        self.name_hash = <uint64_t *>calloc(self.poll.candidates + 1, sizeof(uint64_t))
        self.weight = <uint32_t *>calloc(self.poll.candidates + 1, sizeof(uint32_t))
        self.grade = <uint32_t *>calloc(self.poll.candidates + 1, sizeof(uint32_t))
        self.class_of = <uint32_t *>calloc(roll.count + 1, sizeof(uint32_t))
        if self.name_hash is NULL or self.weight is NULL or self.grade is NULL or self.class_of is NULL:
            raise MemoryError("no memory for an election")
        for at, (name, weight, grade) in enumerate(zip(names, weights, grades, strict=True)):
            digest = blake2b(name.encode(), digest_size=8).digest()
            self.name_hash[at] = PyLong_AsUnsignedLongLongMask(int.from_bytes(digest, "big"))
            self.weight[at], self.grade[at] = max(weight, 1), grade
        stop = roll.count
        for start, row in reversed(segments):
            for at in range(start, stop):
                self.class_of[at] = row
            stop = start
        self.poll.hash, self.poll.class_of, self.poll.name_hash = roll.hash, self.class_of, self.name_hash
        self.poll.weight, self.poll.grade = self.weight, self.grade
        self.poll.fitness = <const uint8_t *>PyBytes_AS_STRING(self.fitnesses)

    def __dealloc__(self):
        free(self.name_hash)
        free(self.weight)
        free(self.grade)
        free(self.class_of)

    cdef poll_t with_given(self, bytes holders, bytes gone) except *:
        cdef poll_t poll = self.poll
        if PyBytes_GET_SIZE(holders) != <Py_ssize_t>(poll.units * sizeof(int32_t)):
            raise ValueError(f"expected holders of {poll.units} units, not {len(holders)} bytes")
        if PyBytes_GET_SIZE(gone) != <Py_ssize_t>poll.candidates:
            raise ValueError(f"expected {poll.candidates} flags, not {len(gone)}")
        poll.holder = <const int32_t *>PyBytes_AS_STRING(holders)
        poll.gone = <const uint8_t *>PyBytes_AS_STRING(gone)
        return poll

    cdef bytes room(self):
        holders = PyBytes_FromStringAndSize(NULL, self.poll.units * sizeof(int32_t))
        memset(PyBytes_AS_STRING(holders), 0xFF, PyBytes_GET_SIZE(holders))  # NOBODY
        return holders

    def holders(self, claims):
        """Who holds each unit, by (index, Spans) of who says so; of two who do, who may rather, then by score."""
        cdef bytes holders = self.room()
        cdef bytes gone = bytes(self.poll.candidates)
        cdef int32_t *holder = <int32_t *>PyBytes_AS_STRING(holders)
        cdef poll_t poll = self.with_given(holders, gone)
        cdef uint32_t start = 0, stop = 0, unit
        cdef int32_t index
        cdef span_t span
        cdef size_t at
        for index, spans in claims:
            for each in spans.spans:
                read(each, &span)
                at = self.roll.seek(&span)
                while self.roll.cut(at, &span, &start, &stop):
                    for unit in range(start, stop):
                        if holder[unit] == NOBODY or poll_believed(&poll, unit, index, holder[unit]):
                            holder[unit] = index
                    at += 1
        return holders

    def balanced(self, bytes holders not None, bytes gone not None):
        """Who owns each unit by rendezvous with bounded load; `gone` has one byte a candidate, not 0 for who is not
        there any more.
        """
        cdef poll_t poll = self.with_given(holders, gone)
        cdef bytes owners = self.room()
        cdef int32_t *owner = <int32_t *>PyBytes_AS_STRING(owners)
        cdef bint done
        with nogil:
            done = poll_balanced(&poll, owner)
        if not done:
            raise MemoryError("no memory for an election")
        return owners

    def first(self, columns, bytes holders not None, bytes gone not None):
        """Who owns each unit by the lowest digest: `columns` has 32 bytes a unit for each candidate. Units that are
        held by who is not gone stay.
        """
        cdef poll_t poll = self.with_given(holders, gone)
        cdef bytes owners = self.room()
        cdef int32_t *owner = <int32_t *>PyBytes_AS_STRING(owners)
        cdef const uint8_t **column = <const uint8_t **>calloc(poll.candidates + 1, sizeof(uint8_t *))
        cdef uint32_t at
        cdef bint done = False
        if column is NULL:
            raise MemoryError("no memory for an election")
        try:
            for at in range(poll.candidates):
                digests = columns[at]
                if PyBytes_GET_SIZE(digests) != 32 * <Py_ssize_t>poll.units:
                    raise ValueError(f"expected 32 bytes for each of {poll.units} units, not {len(digests)}")
                column[at] = <const uint8_t *>PyBytes_AS_STRING(digests)
            with nogil:
                done = poll_first(&poll, column, owner)
        finally:
            free(column)
        if not done:
            raise MemoryError("no memory for an election")
        return owners

    def fitness(self, uint32_t unit, uint32_t candidate):
        """How one candidate stands towards one unit."""
        if unit >= self.poll.units or candidate >= self.poll.candidates:
            raise IndexError(f"expected a unit below {self.poll.units} and a candidate below {self.poll.candidates}")
        return Fitness(self.fitnesses[self.class_of[unit] * self.poll.candidates + candidate])

    def fitness_of(self, bytes owners not None):
        """How the owner of each unit stands towards it, as labels for `Roll.gather`; -1 where there is none."""
        cdef bytes labels = self.room()
        cdef const int32_t *owner = <const int32_t *>PyBytes_AS_STRING(owners)
        cdef int32_t *label = <int32_t *>PyBytes_AS_STRING(labels)
        cdef const uint8_t *fitness = <const uint8_t *>PyBytes_AS_STRING(self.fitnesses)
        cdef uint32_t unit
        for unit in range(self.poll.units):
            if owner[unit] != NOBODY:
                label[unit] = fitness[<size_t>self.class_of[unit] * self.poll.candidates + <uint32_t>owner[unit]]
        return labels
