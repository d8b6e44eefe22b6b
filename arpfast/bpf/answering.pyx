"""The answer inside the kernel, as Python sees it: the maps that the programs read, and the links that hold them.

`Seats` says what is answered on which interface. All of it is exchanged by one word: a program sees the old seat (table
and identity of the interface) or the new one, never half of each, and no question goes by in between. An identity that
is out of use is not written to again before 1000 others have come and gone, so no program still reads it.

`Attachment` is one program on one interface. Neither waits for anything but the kernel's readers (`Slots`).
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.mman cimport munmap

import errno
import os
from enum import IntEnum

from arpfast.answer cimport VERDICT_COUNT, Link, Table, link_t

from arpfast.answer import Verdict
from arpfast.crossing import Asked, Asker


cdef extern from "bpf/libbpf.h" nogil:
    int libbpf_num_possible_cpus() noexcept

cdef extern from "attach.h" nogil:
    enum:
        SEATS_MAX
        LINKS_KEPT
        ASKED_SIZE
        ASKERS_SIZE

    ctypedef enum way_t "enum way":
        WAY_NATIVE
        WAY_GENERIC
        WAY_TC

    ctypedef struct term_t "struct term":
        uint64_t until_ns
        uint64_t boot_until_ns
        uint64_t members

    ctypedef struct recent_t "struct recent":
        uint64_t monotonic_ns
        uint64_t mac
        uint64_t high
        uint64_t low
        uint64_t ifindex
        uint64_t sum

    ctypedef struct driver_t "struct driver":
        char name[32]
        int strips

    uint64_t seat_word(uint32_t ifindex, uint32_t slot, uint32_t identity) noexcept
    uint32_t tally_key(uint32_t ifindex, uint32_t verdict) noexcept
    int way_link(int program, uint32_t ifindex, way_t way) noexcept
    int64_t link_ifindex(int link) noexcept
    int way_replace(int link, int program) noexcept
    int way_pin(int link, const char *path) noexcept
    int way_pinned(const char *path) noexcept
    int way_classify(int program, uint32_t ifindex) noexcept
    int way_declassify(uint32_t ifindex) noexcept
    uint32_t asked_index(uint8_t version, const uint8_t *address) noexcept
    uint64_t recent_sum(const recent_t *recent) noexcept
    uint8_t recent_version(const recent_t *recent) noexcept
    int driver_read(uint32_t ifindex, driver_t *driver) noexcept
    void *map_memory(int map, size_t size) noexcept
    int tally_total(int map, uint32_t key, int cpus, uint64_t *values, uint64_t *total) noexcept

cdef extern from *:
    """
    static inline void store_word(uint64_t *at, uint64_t value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }
    """
    void store_word(uint64_t *at, uint64_t value) noexcept nogil


class Way(IntEnum):
    """How a program comes to a frame: from the driver, from the stack as if from the driver, or at tc ingress."""

    NATIVE = WAY_NATIVE
    GENERIC = WAY_GENERIC
    TC = WAY_TC


cdef tuple VERDICTS = tuple(Verdict)
cdef enum:
    RESTING = 1000


cdef object failure(int error, str attempt):
    return OSError(-error, f"could not {attempt}: {os.strerror(-error)}")


def driver(uint32_t ifindex):
    """The name of an interface's driver (empty if it has none), and whether it takes VLAN tags off before XDP."""
    cdef driver_t found
    error = driver_read(ifindex, &found)
    if error:
        raise failure(error, f"ask interface {ifindex} for its driver")
    return found.name.decode(errors="replace"), bool(found.strips)


cdef class Seats:
    """What the kernel answers where. `programs` is the arpfast.bpf.programs.Filter that has loaded them."""

    cdef object programs
    cdef uint64_t *seats
    cdef term_t *terms
    cdef recent_t *asked_last
    cdef recent_t *asked_by
    cdef link_t *identities
    cdef int counts
    cdef dict seated    # ifindex -> (Table, slot, Link, identity)
    cdef list free      # identities, in the order in which they came free

    def __cinit__(self, programs):
        self.programs = programs
        self.seated = {}
        self.free = list(range(LINKS_KEPT))
        self.counts = programs.answer_map("tallies")
        self.identities = <link_t *>map_memory(programs.answer_map("identities"), LINKS_KEPT * sizeof(link_t))
        self.seats = <uint64_t *>map_memory(programs.answer_map("seats"), SEATS_MAX * sizeof(uint64_t))
        self.terms = <term_t *>map_memory(programs.answer_map("terms"), sizeof(term_t))
        self.asked_last = <recent_t *>map_memory(programs.answer_map("asked"), ASKED_SIZE * sizeof(recent_t))
        self.asked_by = <recent_t *>map_memory(programs.answer_map("asked_by"), ASKERS_SIZE * sizeof(recent_t))
        if (self.identities is NULL or self.seats is NULL or self.terms is NULL or self.asked_last is NULL
                or self.asked_by is NULL):
            self.close()
            raise MemoryError("no memory for the seats of the kernel's answer")

    def __dealloc__(self):
        self.close()

    cpdef close(self):
        """Let go of the maps; what they say stays with the programs that are still attached."""
        if self.identities is not NULL:
            munmap(self.identities, LINKS_KEPT * sizeof(link_t))
        if self.seats is not NULL:
            munmap(self.seats, SEATS_MAX * sizeof(uint64_t))
        if self.terms is not NULL:
            munmap(self.terms, sizeof(term_t))
        if self.asked_last is not NULL:
            munmap(self.asked_last, ASKED_SIZE * sizeof(recent_t))
        if self.asked_by is not NULL:
            munmap(self.asked_by, ASKERS_SIZE * sizeof(recent_t))
        self.identities, self.seats, self.terms = NULL, NULL, NULL
        self.asked_last, self.asked_by = NULL, NULL

    @property
    def term(self):
        """Where the term lies in memory (`struct term`), for the responder's thread to put off; valid until close."""
        return <uintptr_t>self.terms

    def sit(self, uint32_t ifindex, Link link not None, Table table not None):
        """Answer on the interface as `link` for `table`, from now on. Raises OSError, and then nothing has changed."""
        cdef uint32_t at = ifindex % SEATS_MAX, key
        before = self.seated.get(ifindex)
        for other in self.seated:
            if other != ifindex and other % SEATS_MAX == at:
                raise OSError(errno.ENOSPC, f"interface {other} has the seat of interface {ifindex}")
        slot = self.programs.take(table)
        try:
            if before is not None and before[2] is link:
                key = before[3]
            else:
                if len(self.free) <= RESTING:
                    raise OSError(errno.ENOSPC, f"expected at most {LINKS_KEPT - RESTING} interfaces with a seat")
                key = self.free[0]
                self.identities[key] = link.link
                self.identities[key].members = NULL
                del self.free[0]
        except BaseException:
            self.programs.leave(table)
            raise
        store_word(&self.seats[at], seat_word(ifindex, slot, key))
        self.seated[ifindex] = (table, slot, link, key)
        self.let_go(before, key)

    def rise(self, uint32_t ifindex):
        """Answer on the interface no more."""
        before = self.seated.pop(ifindex, None)
        if before is not None:
            store_word(&self.seats[ifindex % SEATS_MAX], 0)
            self.let_go(before, None)

    cdef int let_go(self, tuple before, object kept) except -1:
        if before is not None:
            self.programs.leave(before[0])
            if before[3] != kept:
                self.free.append(before[3])
        return 0

    def set_members(self, bint any_):
        """Whether there are members whose questions are for the thread."""
        store_word(&self.terms.members, any_)

    def tallies(self, uint32_t ifindex):
        """What became of the frames of an interface, by verdict; and how many were not judged. Raises OSError."""
        cdef uint64_t total = 0
        cdef int cpus = libbpf_num_possible_cpus()
        cdef uint64_t *values = <uint64_t *>malloc((cpus if cpus > 0 else 1) * sizeof(uint64_t))
        counts = []
        if values is NULL:
            raise MemoryError("no memory for counters")
        try:
            for verdict in range(VERDICT_COUNT + 1):
                error = tally_total(self.counts, tally_key(ifindex, verdict), cpus, values, &total)
                if error:
                    raise failure(error, "read the counters of the kernel's answer")
                counts.append(total)
        finally:
            free(values)
        return dict(zip(VERDICTS, counts, strict=False)), counts[VERDICT_COUNT]

    def asked(self, version, address):
        """Who was answered last for an address, as `Responder.asked`."""
        cdef uint8_t packed[16]
        cdef recent_t found
        cdef bytes wanted = address.to_bytes(4 if version == 4 else 16, "big").ljust(16, b"\0")
        memcpy(packed, <const char *>wanted, 16)
        if self.asked_last is NULL:
            return None
        found = self.asked_last[asked_index(version, packed)]
        if not whole(&found) or recent_version(&found) != version or ip(&found) != wanted:
            return None
        return Asked(mac(&found), found.ifindex, found.monotonic_ns)

    def askers(self):
        """Who asked lately, as `Responder.askers`, in no order."""
        cdef recent_t found
        gathered = []
        for place in range(ASKERS_SIZE if self.asked_by is not NULL else 0):
            found = self.asked_by[place]
            if whole(&found):
                version = recent_version(&found)
                address = int.from_bytes(ip(&found)[:4 if version == 4 else 16], "big")
                gathered.append(Asker(mac(&found), found.ifindex, version, address, found.monotonic_ns))
        return gathered


cdef bint whole(const recent_t *recent) noexcept:
    """Whether an entry is one processor's, and of this loading."""
    return recent.mac != 0 and recent.sum == recent_sum(recent)


cdef bytes mac(const recent_t *recent):
    return (<const char *>&recent.mac)[:6]


cdef bytes ip(const recent_t *recent):
    return (<const char *>&recent.high)[:16]


cdef class Attachment:
    """A program on an interface. Raises OSError if it cannot be there: EBUSY if a stranger's XDP program is.

    `link` is one that is taken over. Before Linux 6.6, and with `classify`, tc has a classifier instead, which needs
    CAP_NET_ADMIN to attach, is never pinned, and outlives a process that is killed, until the next one replaces it.
    """

    cdef int link  # -1: a classifier, or closed
    cdef readonly uint32_t ifindex
    cdef readonly object way
    cdef bint classifier

    def __cinit__(self, int program, uint32_t ifindex, way, *, int link=-1, bint classify=False):
        cdef int error
        self.ifindex, self.way, self.link = ifindex, Way(way), link
        if link >= 0:
            error = way_replace(link, program)
            if error:
                os.close(link)
                self.link = -1
                raise failure(error, f"take over the program on interface {ifindex}")
            return
        self.link = -errno.EINVAL if classify else way_link(program, ifindex, <way_t><int>way)
        if self.link in (-errno.EINVAL, -errno.EOPNOTSUPP) and way == WAY_TC:
            self.link = way_classify(program, ifindex)
            self.classifier = self.link == 0
            if self.classifier:
                self.link = -1
                return
        if self.link < 0:
            error, self.link = self.link, -1
            raise failure(error, f"attach to interface {ifindex}")

    def __dealloc__(self):
        if self.link >= 0:
            os.close(self.link)

    def holds(self):
        """Whether it is still there: an interface that was deleted, and one of the same index made, has none."""
        return self.classifier or (self.link >= 0 and link_ifindex(self.link) == self.ifindex)

    def pin(self, path):
        """Have it outlive us. Raises OSError."""
        if self.classifier:
            return
        error = way_pin(self.link, os.fsencode(path))
        if error:
            raise failure(error, f"pin a link at {path}")

    def close(self):
        """Take it off, unless it is pinned."""
        if self.link >= 0:
            os.close(self.link)
        elif self.classifier:
            way_declassify(self.ifindex)
        self.link, self.classifier = -1, False


def pinned(path):
    """The descriptor of a link that was pinned, and the interface it is on (0: gone). Raises OSError."""
    cdef int link = way_pinned(os.fsencode(path))
    if link < 0:
        raise failure(link, f"open the link at {path}")
    return link, link_ifindex(link)


def has_links(int program):
    """Whether tc takes links here (Linux 6.6); tried upon loopback, for an instant."""
    cdef int link = way_link(program, 1, WAY_TC)
    if link >= 0:
        os.close(link)
    return link not in (-errno.EINVAL, -errno.EOPNOTSUPP)
