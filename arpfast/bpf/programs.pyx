"""Loads the programs of programs.bpf.c and gives them their tables.

Programs, maps and links belong to this process alone and die with their last descriptor: nothing is left behind however
the process ends (but see `Guard` for kernels before 6.6). Python's threads may call everything here at any time; calls
that wait for the kernel's readers run without the interpreter's lock.

The order that loses no frame: first the table here, then the responder's own. From the moment `set_table` returns, all
frames are judged by the new table, so no request for a wanted address is refused; the kernel exchanges one pointer, so
none is refused on the way either.

Privileges: CAP_BPF to load, and again for every new table, since a table is a new map, made when it is needed or by
`prepare` beforehand; CAP_NET_ADMIN to load the guard (and before Linux 6.6 to attach it, but not as a link). So who
keeps CAP_BPF keeps all. Without it no table can be changed any more: then, as after any other failure, the interface is
opened; its filter lets everything pass, and the responder's own judgement stands.
"""

from libc.errno cimport E2BIG, EINVAL, EOPNOTSUPP, EPERM
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import os
import threading
from collections import deque

from arpfast.answer cimport TABLE_WORDS, Table, table_t

from arpfast.bpf.statistics import FilterStatistics


cdef extern from "frames.h" nogil:
    uint64_t mac_number(const uint8_t *mac) noexcept

cdef extern from "kernel.h" nogil:
    enum:
        PART_FILTER_ARP
        PART_FILTER_ND
        PART_GUARD
        PART_ANSWER_XDP
        PART_ANSWER_TC
        PART_LINKS
        PART_TABLES
        PART_OUTLINES
        PART_LIMITS
        PART_MEMBERS
        PART_COUNTERS
        PART_SEATS
        PART_IDENTITIES
        PART_TERMS
        PART_TALLIES
        PART_ASKED
        PART_ASKED_BY
        PARTS
        LINKS_MAX
        SLOTS_MAX
        PAGE_WORDS
        COUNTERS

    ctypedef enum extent_t "enum extent":
        EXTENT_FILTERS
        EXTENT_GUARD
        EXTENT_ANSWERS

    ctypedef struct complaint_t "struct complaint":
        char text[1]

    ctypedef struct outline_t "struct outline":
        pass

    ctypedef struct place_t "struct place":
        uint32_t slot
        uint32_t guarded

    ctypedef struct bucket_t "struct bucket":
        uint64_t cost_ns
        uint64_t window_ns

    ctypedef struct limits_t "struct limits":
        bucket_t asker
        bucket_t all

    complaint_t *complaint_new() noexcept
    void complaint_free(complaint_t *complaint) noexcept
    int load(int *fds, extent_t extent, complaint_t *complaint) noexcept
    int pages_map(uint64_t pages, uint64_t **memory) noexcept
    void pages_close(uint64_t *memory, uint64_t pages) noexcept
    int words_map(const uint64_t *words, uint64_t count) noexcept
    outline_t *outlines_open(int map) noexcept
    void outlines_close(outline_t *outlines) noexcept
    void outline_set(outline_t *outline, uint32_t slot, const table_t *table) noexcept
    int set_value(int map, const void *key, const void *value) noexcept
    int unset(int map, const void *key) noexcept
    int counter_total(int map, uint32_t counter, uint64_t *total) noexcept
    ctypedef struct ingress_t "struct ingress":
        pass

    const ingress_t INGRESS_GUARD
    int ingress_link(int program, uint32_t ifindex) noexcept
    int64_t link_ifindex(int link) noexcept
    int ingress_classify(int program, uint32_t ifindex, ingress_t at) noexcept
    int ingress_declassify(uint32_t ifindex, ingress_t at) noexcept


cdef enum:
    STALE_MAX = 4  # tables out of use that the kernel may still hold; one, once there is time


cdef object failure(int error, str attempt, str complaint=""):
    """The OSError for -errno, with what libbpf and the verifier said."""
    text = f"could not {attempt}: {os.strerror(-error)}"
    return OSError(-error, f"{text}\n{complaint.strip()}" if complaint else text)


cdef bucket_t bucket(uint64_t per_s, uint64_t burst):
    cdef bucket_t made
    made.cost_ns = 1_000_000_000 // per_s if per_s else 0
    made.window_ns = made.cost_ns * (burst if burst else 1)
    return made


cdef class Slots:
    """The tables in the kernel: a slot each, however many interfaces are judged by it.

    To fill or empty a slot waits until no program reads what was there before, which may take 20 ms; to judge one more
    interface by it does not. A slot that nobody uses any more is filled again only after another such wait: a program
    that has just been told of it may be about to look there.

    With a spare slot, which `Filter.prepare` fills with empty pages beforehand, a new table need not wait either: no
    program knows of that slot, so the table is written to its pages in place.
    """

    cdef int tables
    cdef outline_t *outlines
    cdef dict slots   # Table -> slot
    cdef dict users   # Table -> how many interfaces
    cdef object stale  # (slot, waits that had begun when it was left), the oldest first: still with its table
    cdef list empty
    cdef uint32_t fresh
    cdef uint64_t begun   # waits for the kernel's readers
    cdef uint64_t waited  # the latest begun of those that are over
    cdef uint32_t spare
    cdef uint64_t *pages  # of the spare slot; NULL: there is none
    cdef uint64_t room    # how many
    cdef uint64_t wanted  # how many the next table may need

    def __cinit__(self, int tables, int outlines):
        self.tables = tables
        self.slots, self.users, self.stale, self.empty = {}, {}, deque(), []
        self.outlines = outlines_open(outlines)
        if self.outlines is NULL:
            raise MemoryError("no memory for the tables of the eBPF filter")

    def __dealloc__(self):
        pages_close(self.pages, self.room)
        outlines_close(self.outlines)

    cdef int take(self, Table table) except -1:
        """The slot of a table that one more interface is to be judged by. Raises OSError."""
        cdef uint64_t count = table.table.word[TABLE_WORDS]
        cdef int64_t slot
        if table not in self.slots:
            self.wanted = count // PAGE_WORDS * 5 // 4 + 2
            slot = self.written(table)
            if slot < 0:
                slot = self.vacant()
                if slot < 0:
                    raise OSError(f"expected at most {SLOTS_MAX} tables in the eBPF filter")
                try:
                    self.fill(slot, table)
                except OSError:
                    self.empty.append(slot)
                    raise
            self.slots[table], self.users[table] = slot, 0
        self.users[table] += 1
        return self.slots[table]

    cdef int leave(self, Table table) except -1:
        """One interface less is judged by the table."""
        self.users[table] -= 1
        if self.users[table] == 0:
            del self.users[table]
            self.stale.append((self.slots.pop(table), self.begun))
            while len(self.stale) > STALE_MAX:
                slot = self.stale.popleft()[0]
                self.clear(slot)
                self.empty.append(slot)
        return 0

    cdef int64_t vacant(self):
        """A slot that no program reads, now taken; -1 if there is none."""
        if self.stale and self.stale[0][1] < self.waited:
            return self.stale.popleft()[0]
        if self.empty:
            return self.empty.pop()
        if self.fresh == SLOTS_MAX:
            return -1
        self.fresh += 1
        return self.fresh - 1

    cdef int64_t written(self, Table table):
        """What was the spare slot, with this table; -1 if there is none with room for it."""
        cdef const uint64_t *words = table.table.word
        if self.pages is NULL or words[TABLE_WORDS] > self.room * PAGE_WORDS:
            return -1
        memcpy(self.pages, words, words[TABLE_WORDS] * sizeof(uint64_t))
        outline_set(&self.outlines[self.spare], self.spare, table.table)
        pages_close(self.pages, self.room)
        self.pages = NULL
        return self.spare

    cdef int64_t reserve(self):
        """The slot that is to become the spare one; -1 if there is one that will do, or nothing has been asked for."""
        if self.wanted == 0 or (self.pages is not NULL and self.room >= self.wanted):
            return -1
        if self.pages is not NULL:
            pages_close(self.pages, self.room)
            self.pages = NULL
            self.empty.append(self.spare)
        return self.vacant()

    cdef uint64_t begin(self) noexcept:
        """A wait for the kernel's readers begins."""
        self.begun += 1
        return self.begun

    cdef void over(self, uint64_t number) noexcept:
        """It is over."""
        self.waited = max(self.waited, number)

    cdef int fill(self, uint32_t slot, Table table) except -1:
        cdef const uint64_t *words = table.table.word
        cdef int map_, error
        with nogil:
            map_ = words_map(words, words[TABLE_WORDS])
        if map_ < 0:
            raise failure(map_, f"make a table of {table.nbytes} bytes for the eBPF filter (needs CAP_BPF)")
        outline_set(&self.outlines[slot], slot, table.table)
        cdef uint64_t number = self.begin()
        with nogil:
            error = set_value(self.tables, &slot, &map_)
        os.close(map_)  # the slot has it now
        if error:
            raise failure(error, "hand a table to the eBPF filter")
        self.over(number)
        return 0

    cdef int clear(self, uint32_t slot) except -1:
        cdef uint64_t number = self.begin()
        with nogil:
            unset(self.tables, &slot)
        outline_set(&self.outlines[slot], slot, NULL)
        self.over(number)
        return 0


cdef class Guard:
    """The guard at tc ingress of interfaces.

    It is a link at the head of the tcx chain, which dies with its descriptor and stands beside those of others. Before
    Linux 6.6 it is a classifier with a handle and priority of its own, which outlives the process: attaching replaces
    what an earlier one left, and without a filter that gets to know askers it lets everything pass.
    """

    cdef int program
    cdef bint classify
    cdef dict links  # ifindex -> descriptor, or -1 for a classifier

    def __cinit__(self, int program, *, bint classify=False):
        self.program = program
        self.classify = classify
        self.links = {}

    def attach(self, uint32_t ifindex):
        """See to it that the guard is on the interface, which may have been made anew. Raises OSError."""
        cdef int link
        if ifindex in self.links:
            link = self.links[ifindex]
            if link >= 0 and link_ifindex(link) > 0:
                return
            self.detach(ifindex)
        link = -EINVAL if self.classify else ingress_link(self.program, ifindex)
        if link in (-EINVAL, -EOPNOTSUPP):
            error = ingress_classify(self.program, ifindex, INGRESS_GUARD)
            if error:
                raise failure(error, f"attach the guard to interface {ifindex} (needs CAP_NET_ADMIN)")
            link = -1
        elif link < 0:
            raise failure(link, f"attach the guard to interface {ifindex} (needs CAP_NET_ADMIN)")
        self.links[ifindex] = link

    def detach(self, uint32_t ifindex):
        """Take the guard off, if it is there; nobody else's program is touched."""
        cdef int link
        if ifindex not in self.links:
            return
        link = self.links.pop(ifindex)
        if link >= 0:
            os.close(link)
        else:
            ingress_declassify(ifindex, INGRESS_GUARD)

    def close(self):
        """Take all off."""
        for ifindex in tuple(self.links):
            self.detach(ifindex)


cdef class Filter:
    """The socket filters, the guard, and which table each interface has.

    Raises OSError if the kernel does not take the filters, with what it says to it. The guard is a bonus: it needs
    CAP_NET_ADMIN besides, is attached to each interface with a table while there is a limit, and where it cannot be the
    filters keep the limit alone. With `answers` so are the programs that answer, for `Answerer` (backends.py)
    to attach; `unanswering` says why they could not be loaded, and is empty if they could.
    """

    cdef int[PARTS] fds
    cdef bint closed
    cdef object lock
    cdef object preparing  # taken before the other lock, and never waited for by who shows a table
    cdef Slots slots
    cdef dict places  # ifindex -> (slot, guarded), as the programs know it
    cdef dict tables  # ifindex -> Table in force, None while open
    cdef dict unfiltered  # ifindex -> why its table is not in force
    cdef dict unguarded   # ifindex -> why the guard is not attached though there is a limit
    cdef Guard guard      # None if it could not be loaded
    cdef bint limited
    cdef frozenset members
    cdef readonly str unanswering

    def __cinit__(self, *, limit=None, bint answers=False):
        cdef int part, error = 0
        cdef extent_t extent
        for part in range(PARTS):
            self.fds[part] = -1
        self.lock, self.preparing = threading.RLock(), threading.Lock()
        self.members = frozenset()
        self.unanswering = ""
        self.places, self.tables, self.unfiltered, self.unguarded = {}, {}, {}, {}
        cdef complaint_t *complaint = complaint_new()
        if complaint is NULL:
            raise MemoryError("no memory to load a filter")
        try:
            for extent in (EXTENT_ANSWERS, EXTENT_GUARD, EXTENT_FILTERS):
                if extent == EXTENT_ANSWERS and not answers:
                    continue
                with nogil:
                    error = load(self.fds, extent, complaint)
                if error and extent == EXTENT_ANSWERS:
                    self.unanswering = os.strerror(-error).lower()  # an old kernel's verifier may have its own reasons
                elif error not in (-EPERM, -EINVAL, -EOPNOTSUPP):
                    break
            if error:
                raise failure(error, "load the eBPF socket filter (needs CAP_BPF)",
                              complaint.text.decode(errors="replace"))
        finally:
            complaint_free(complaint)
        self.slots = Slots(self.fds[PART_TABLES], self.fds[PART_OUTLINES])
        if self.fds[PART_GUARD] >= 0:
            self.guard = Guard(self.fds[PART_GUARD])
        self.set_limit(limit)

    def __del__(self):
        if self.lock is not None and not self.closed:
            self.close()

    cdef int opened(self) except -1:
        if self.closed:
            raise ValueError("the filter is closed")
        return 0

    def close(self):
        """Let go of programs, guards and tables. Sockets keep a program that they have, and with it its last tables."""
        cdef int part
        with self.preparing, self.lock:
            self.closed = True
            if self.guard is not None:
                self.guard.close()
            self.tables.clear()
            self.places.clear()
            for part in range(PARTS):
                if self.fds[part] >= 0:
                    os.close(self.fds[part])
                    self.fds[part] = -1

    def socket_program(self, version):
        """The descriptor of the filter for packet sockets bound to ARP (4) or IPv6 (6); the Filter closes it."""
        with self.lock:
            self.opened()
            return self.fds[{4: PART_FILTER_ARP, 6: PART_FILTER_ND}[version]]

    def guard_program(self):
        """The descriptor of the program that a Guard attaches, -1 if it could not be loaded; the Filter closes it."""
        with self.lock:
            self.opened()
            return self.fds[PART_GUARD]

    def answer_program(self, xdp):
        """The descriptor of the program that answers, for XDP or for tc, -1 if it could not be loaded."""
        with self.lock:
            self.opened()
            return self.fds[PART_ANSWER_XDP if xdp else PART_ANSWER_TC]

    def answer_map(self, name):
        """The descriptor of a map of the programs that answer; the Filter closes it."""
        with self.lock:
            self.opened()
            return self.fds[{"seats": PART_SEATS, "identities": PART_IDENTITIES, "terms": PART_TERMS,
                             "tallies": PART_TALLIES, "asked": PART_ASKED, "asked_by": PART_ASKED_BY}[name]]

    def take(self, table):
        """The slot where a table lies that one more seat is answered from. Raises OSError."""
        with self.lock:
            self.opened()
            return self.slots.take(table)

    def leave(self, table):
        """One seat less is answered from the table."""
        with self.lock:
            if not self.closed:
                self.slots.leave(table)

    def set_limit(self, limit):
        """Limit the questions that each MAC, and all together, may ask (None: no limit); guards follow."""
        cdef limits_t wanted
        cdef uint32_t zero = 0
        wanted.asker = bucket(0, 0) if limit is None else bucket(limit.per_mac_per_s, limit.burst)
        # in all, as much at once as comes in a tenth of a second: about what a ring holds at the most
        wanted.all = bucket(0, 0) if limit is None else bucket(limit.total_per_s, limit.total_per_s // 10)
        with self.lock:
            self.opened()
            error = set_value(self.fds[PART_LIMITS], &zero, &wanted)
            if error:
                raise failure(error, "set the rate limit of the eBPF filter")
            self.limited = wanted.asker.cost_ns != 0
            for ifindex in self.tables:
                self.see_to_guard(ifindex)

    def set_members(self, macs):
        """Exempt these hardware addresses, of other members of our ring, from the limit; at most 4096.

        Never fails: one that the kernel does not take is limited like anybody, and tried again at the next call.
        """
        cdef uint64_t key
        cdef uint32_t one = 1
        with self.lock:
            self.opened()
            kept = set(self.members)
            for mac in self.members - macs:
                key = mac_number(<const uint8_t *><const char *>mac)
                if unset(self.fds[PART_MEMBERS], &key) == 0:
                    kept.discard(mac)
            for mac in macs - self.members:
                key = mac_number(<const uint8_t *><const char *>mac)
                if set_value(self.fds[PART_MEMBERS], &key, &one) == 0:
                    kept.add(mac)
            self.members = frozenset(kept)

    def set_table(self, ifindex, table):
        """Judge the interface's frames by `table` from now on; None: let all pass.

        Never fails: if the kernel does not take the table, the interface is opened, and `statistics().unfiltered` says
        why until the next call succeeds. Waits some milliseconds for the kernel's readers, unless `prepare` has.
        """
        with self.lock:
            self.opened()
            if ifindex in self.tables and self.tables[ifindex] is table and ifindex not in self.unfiltered:
                self.see_to_guard(ifindex)
                return
            before = self.tables.get(ifindex)
            try:
                self.show(ifindex, table)
            except OSError as error:
                self.unfiltered[ifindex] = str(error)
                self.open_link(ifindex)
                self.tables[ifindex] = None
            else:
                self.unfiltered.pop(ifindex, None)
                self.tables[ifindex] = table
            self.see_to_guard(ifindex)
            if before is not None:
                self.slots.leave(before)

    def prepare(self):
        """Make room for the next table, so that whoever shows it need not wait for the kernel's readers. This waits for
        them: it is for a thread that has nothing else to do. Never fails; without room, the next table waits.
        """
        cdef uint64_t *pages = NULL
        cdef uint64_t number = 0, room = 0
        cdef int64_t chosen = -1
        cdef uint32_t slot = 0
        cdef int map_ = -1, error = 0
        with self.preparing:
            with self.lock:
                if self.closed:
                    return
                chosen, room = self.slots.reserve(), self.slots.wanted
                if chosen >= 0:
                    slot, number = chosen, self.slots.begin()
            if chosen >= 0:
                with nogil:
                    error = map_ = pages_map(room, &pages)
                    if map_ >= 0:
                        error = set_value(self.fds[PART_TABLES], &slot, &map_)
                if map_ >= 0:
                    os.close(map_)
                with self.lock:
                    if error < 0:
                        pages_close(pages, room)
                        self.slots.empty.append(slot)
                    else:
                        self.slots.over(number)
                        self.slots.spare, self.slots.pages, self.slots.room = slot, pages, room
            self.retire()

    cdef int retire(self) except -1:
        """Empty what nobody uses but for one slot, which will be the next spare one."""
        cdef uint64_t number = 0
        cdef uint32_t slot = 0
        while True:
            with self.lock:
                if len(self.slots.stale) <= 1:
                    return 0
                slot, number = self.slots.stale.popleft()[0], self.slots.begin()
            with nogil:
                unset(self.fds[PART_TABLES], &slot)
            with self.lock:
                self.slots.over(number)
                outline_set(&self.slots.outlines[slot], slot, NULL)
                self.slots.empty.append(slot)

    @property
    def waits(self):
        """How often somebody has waited for the kernel's readers."""
        with self.lock:
            return self.slots.begun

    def drop_link(self, ifindex):
        """Forget an interface, which may be gone already: take the guard off, let all frames pass."""
        with self.lock:
            self.opened()
            if self.guard is not None:
                self.guard.detach(ifindex)
            before = self.tables.pop(ifindex, None)
            self.open_link(ifindex)
            self.unfiltered.pop(ifindex, None)
            self.unguarded.pop(ifindex, None)
            if before is not None:
                self.slots.leave(before)

    def statistics(self):
        """What was counted on all processors until now, and what could not be done. Raises OSError."""
        cdef uint64_t total = 0
        cdef list counts = []
        with self.lock:
            self.opened()
            for counter in range(COUNTERS):
                error = counter_total(self.fds[PART_COUNTERS], counter, &total)
                if error:
                    raise failure(error, "read the counters of the eBPF filter")
                counts.append(total)
            return FilterStatistics(*counts, dict(self.unfiltered), dict(self.unguarded))

    cdef int see_to_guard(self, uint32_t ifindex) except -1:
        """Attach or detach the guard as the limit wants it. The filter counts whenever the guard does not."""
        attached = False
        self.unguarded.pop(ifindex, None)
        if self.limited and self.tables[ifindex] is not None:
            try:
                if self.guard is None:
                    raise failure(-EPERM, "load the guard (needs CAP_BPF and CAP_NET_ADMIN)")
                self.guard.attach(ifindex)
                attached = True
            except OSError as error:
                self.unguarded[ifindex] = str(error)
        if ifindex in self.places:
            self.place(ifindex, self.places[ifindex][0], attached)
        if not attached and self.guard is not None:
            self.guard.detach(ifindex)
        return 0

    cdef int place(self, uint32_t ifindex, uint32_t slot, bint guarded) except -1:
        """Tell the programs which table judges the interface's frames, and whether the guard has counted them."""
        cdef place_t wanted
        if self.places.get(ifindex) == (slot, guarded):
            return 0
        wanted.slot, wanted.guarded = slot, guarded
        error = set_value(self.fds[PART_LINKS], &ifindex, &wanted)
        if error == -E2BIG:
            raise OSError(f"expected at most {LINKS_MAX} filtered interfaces")
        if error:
            raise failure(error, f"give interface {ifindex} a place in the eBPF filter")
        self.places[ifindex] = slot, guarded
        return 0

    cdef int show(self, uint32_t ifindex, Table table) except -1:
        """Have the interface's frames judged by a table; None: open it. Raises OSError, and then nothing changed."""
        if table is None:
            return self.open_link(ifindex)
        slot = self.slots.take(table)
        try:
            self.place(ifindex, slot, self.places.get(ifindex, (0, False))[1])
        except OSError:
            self.slots.leave(table)
            raise
        return 0

    cdef int open_link(self, uint32_t ifindex) except -1:
        """Let everything pass: take away the place, or else, for all that share it, the table."""
        if unset(self.fds[PART_LINKS], &ifindex) and ifindex in self.places:
            self.slots.clear(self.places[ifindex][0])
        self.places.pop(ifindex, None)
        return 0
