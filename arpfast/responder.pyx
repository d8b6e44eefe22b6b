"""The responder: packet sockets on any number of interfaces, and one thread that answers from them without Python.

This module owns what the thread uses (`loop.h` tells how it works) and carries wishes down and facts up. The thread
never takes the GIL and Python never waits for it but in one place: whoever replaces a plan waits, without the GIL, for
the fraction of a millisecond until the thread has taken up the new one, and then frees the old.

Sockets belong to the network namespace of the Python thread that calls `set_link`. Opening and closing them, and what
may change a plan, is serialized by a lock, so any thread may call anything. After a fork the child has no thread: there
`close` frees, and everything else is the parent's.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset
from posix.types cimport pid_t
from posix.unistd cimport getpid

from arpfast.answer cimport Link, Members, Table, guard_rate
from arpfast.loop cimport (
    ASKERS_SIZE, FACT_CONFIRMED, FACT_CONFLICT, FACT_FROZEN, FACT_INHERITED, FACT_KINDS, FACT_RESUMED, FACT_RIVAL,
    FACT_ROOM, FACT_SILENT, FACT_SOCKET_FAILED, FACT_SPOKE, FACT_SUSPENDED, FACT_TAKEN, FAMILIES, MESSAGE_ANNOUNCE,
    MESSAGE_ASK, MESSAGE_KINDS, MESSAGE_PROBE, MESSAGE_TELL, asked_find, asker_t, askers_read, fact_t, facts_listen,
    facts_take, family_protocol, loop_beats, loop_free, loop_new, loop_publish, loop_ring, loop_settle, loop_start,
    loop_stop, loop_t, loop_wait_adopted, loops_alive, message_t, pace_of, peek, plan_free, plan_new, plan_t,
    plans_alive, port_close, port_orphaned, queue_clear, queue_put, rates_t, ring_filter,
    term_t,
)
from arpfast.port cimport Port, failure
from arpfast.succession cimport HeldEstate, HeldWatch, Watches, pack, pack_message

import contextlib
import os
import resource
import threading
from operator import attrgetter

from arpfast import succession
from arpfast.crossing import (
    Asked,
    Asker,
    Estate,
    Fact,
    FactKind,
    Filter,
    LinkStatistics,
    Message,
    MessageKind,
    RateLimit,
    Statistics,
    Watch,
    WatchStatistics,
    WatchTotals,
)
from arpfast.port import VERSIONS
from arpfast.port import alive as ports_alive

__all__ = [
    "Asked", "Asker", "Estate", "Fact", "FactKind", "Filter", "LinkStatistics", "Message", "MessageKind", "RateLimit",
    "Responder", "Statistics", "Watch", "WatchStatistics", "WatchTotals", "alive",
]

assert [kind.value for kind in FactKind] == [
    FACT_CONFLICT, FACT_TAKEN, FACT_CONFIRMED, FACT_SOCKET_FAILED, FACT_ROOM, FACT_RIVAL, FACT_FROZEN,
    FACT_SILENT, FACT_SPOKE, FACT_SUSPENDED, FACT_RESUMED, FACT_INHERITED]
assert [kind.value for kind in MessageKind] == [MESSAGE_ANNOUNCE, MESSAGE_PROBE, MESSAGE_ASK, MESSAGE_TELL]
assert FAMILIES == 2 and FACT_KINDS == len(FactKind) and MESSAGE_KINDS == len(MessageKind)


cdef Table NOTHING = Table()
cdef tuple FACT_KIND = tuple(FactKind)


def alive():
    """How many responders, plans, ports, watches and estates hold memory, in this process."""
    return loops_alive, plans_alive, ports_alive(), *succession.alive()


cdef class Responder:
    """Answers on the interfaces given to `set_link`, sends what is given to `send`, reports facts.

    `rate_per_s` paces all that `send` sends, on all interfaces together. `ring_frames` is how many frames wait for the
    thread on an interface, per family, before the kernel drops (256 bytes each; a power of two). `limit` bounds how
    often it answers. `filter`, if given, is an `arpfast.bpf.programs.Filter` or the like: it gets each table, and its
    eBPF goes before all sockets that are opened; without it they get a classic filter, which knows no addresses.
    `answerer`, if given, is an `arpfast.bpf.backends.Answerer` or the like: the kernel answers by it what it can, for
    as long as the thread puts off its term; it must outlive the Responder. With
    `fifo` the thread runs before all ordinary ones (SCHED_FIFO, lowest priority) if CAP_SYS_NICE or RLIMIT_RTPRIO allow
    it when it starts; the limit is raised here if it may be, so the capability can go in between. Needs CAP_NET_RAW
    whenever a link is opened. A context manager that closes.
    """

    cdef loop_t *loop
    cdef plan_t *plan
    cdef bint running
    cdef bint fifo
    cdef pid_t owner
    cdef uint32_t frames
    cdef rates_t rates
    cdef uint64_t lease_ns
    cdef uint64_t freezes_told  # to whoever called `facts`
    cdef Members members
    cdef frozenset macs  # of the members
    cdef uint64_t generation
    cdef uint64_t messages_dropped
    cdef dict ports
    cdef Watches watches
    cdef dict shown  # ifindex -> (tables, their union), for the filter
    cdef list held  # what the thread's plan points to
    cdef object filter
    cdef object answerer
    cdef object lock

    def __cinit__(self, *, rate_per_s=20000, ring_frames=4096, limit=None, filter=None, answerer=None, fifo=False):
        self.set_wished_rates(rate_per_s, limit)
        if not 256 <= ring_frames <= 65536 or ring_frames & (ring_frames - 1):
            raise ValueError(f"expected a power of two from 256 to 65536 for ring_frames, not {ring_frames}")
        self.lock = threading.Lock()
        self.ports = {}
        self.watches = Watches()
        self.shown = {}
        self.macs = frozenset()
        self.owner = getpid()
        self.frames = ring_frames
        self.filter = filter
        self.answerer = answerer
        self.loop = loop_new(int.from_bytes(os.urandom(8), "little"))
        if self.loop is NULL:
            raise failure("set up the responder", None)
        if answerer is not None:
            self.loop.term = <term_t *><uintptr_t>answerer.term
            self.loop.outlive_ns = answerer.outlive_ns
        self.fifo = fifo
        if fifo:
            soft, hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_RTPRIO, (max(soft, 1), max(hard, 1)))
        self.publish()

    def __del__(self):
        # Before the garbage collector takes `ports` apart: the thread uses what they own.
        self.free()

    def __dealloc__(self):
        self.free()

    cdef int set_wished_rates(self, object rate_per_s, object limit) except -1:
        if not 1 <= rate_per_s <= 1_000_000:
            raise ValueError(f"expected a rate from 1 to 1000000 frames a second, not {rate_per_s}")
        memset(&self.rates, 0, sizeof(self.rates))
        self.rates.send_interval_ns = pace_of(rate_per_s).interval_ns
        if limit is not None:
            self.rates.each = guard_rate(limit.per_mac_per_s, limit.burst)
            # A tenth of a second's worth at once: many polite askers may well ask together.
            self.rates.all = guard_rate(limit.total_per_s, max(limit.burst, limit.total_per_s // 10))
        return 0

    cdef loop_t *opened(self) except NULL:
        if self.loop is NULL:
            raise ValueError("the responder is closed")
        return self.loop

    cdef int publish(self) except -1:
        """Make the ports as they stand the plan; on return the thread follows it and the one before is gone."""
        cdef uint32_t i = 0
        cdef Port port
        cdef HeldWatch watch
        cdef HeldEstate estate
        cdef Watches watches = self.watches
        cdef plan_t *plan = plan_new(len(self.ports), len(watches.held), len(watches.estates), self.generation + 1)
        if plan is NULL:
            raise MemoryError("no memory for a plan")
        for port in self.ports.values():
            plan.entries[i].port = port.port
            plan.entries[i].table = port.table.table
            plan.entries[i].link = port.link.link
            plan.entries[i].link.members = NULL if self.members is None else self.members.members
            i += 1
        for i, watch in enumerate(watches.held.values()):
            plan.watches[i] = watch.watch
        for i, estate in enumerate(watches.estates):
            plan.estates[i] = estate.estate
        plan.rates = self.rates
        plan.lease_ns = self.lease_ns
        self.generation += 1
        held = [self.members, watches, [(port, port.table) for port in self.ports.values()]]
        self.plan = loop_publish(self.loop, plan)
        if self.running:
            with nogil:
                loop_wait_adopted(self.loop, self.generation)
        plan_free(self.plan)
        self.plan = plan
        self.held = held
        return 0

    cdef int show(self, uint32_t ifindex, Table table) except -1:
        """Have the kernel let pass what the interface's table and all estates concern: no time for that later."""
        if self.filter is None:
            return 0
        tables = [table, *self.watches.tables(ifindex)]
        # One union for all interfaces that have the same: the kernel has one place for a table, and fills it slowly.
        for shown in self.shown.values():
            if shown[0] == tables:
                break
        else:
            shown = tables, table if len(tables) == 1 else Table.union(tables)
        self.shown[ifindex] = shown
        self.filter.set_table(ifindex, shown[1])
        return 0

    cdef void free(self) noexcept:
        cdef loop_t *loop = self.loop
        if loop is NULL:
            return
        self.loop = NULL
        if self.running and self.owner == getpid():
            with nogil:
                loop_stop(loop)
        self.running = False
        plan_free(self.plan)
        self.plan = NULL
        loop_free(loop)

    cdef int withdraw(self, Port port) except -1:
        """Take a port away from the thread and close its sockets. What it still had to send is dropped."""
        del self.ports[port.port.ifindex]
        self.publish()
        self.messages_dropped += queue_clear(&port.port.queue)
        with nogil:
            port_close(port.port)
        return 0

    def start(self):
        """Start the thread; does nothing if it runs."""
        with self.lock:
            self.opened()
            if self.running:
                return
            error = loop_start(self.loop, self.fifo)
            if error:
                raise OSError(error, f"could not start the responder's thread: {os.strerror(error)}")
            self.running = True

    def close(self):
        """End the thread, close every socket, free everything. Anything but `close` then raises ValueError."""
        with self.lock:
            self.free()
            self.ports, self.watches, self.held = {}, Watches(), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def beat(self):
        """How many passes the thread has made; wakes it, so that a later call returns more if it lives. Never waits."""
        cdef uint64_t beats = loop_beats(self.opened())
        loop_ring(self.loop)
        return beats

    def fileno(self):
        """A descriptor that is readable while facts wait; not to be read from."""
        return self.opened().facts.wake

    def facts(self):
        """What was reported since the last call, oldest first; never waits."""
        cdef fact_t fact
        self.opened()
        facts_listen(&self.loop.facts)
        taken = []
        while self.loop is not NULL and facts_take(&self.loop.facts, &fact):
            address = fact.address[:4] if fact.version == 4 else fact.address[:16]
            error = fact.error
            if fact.kind == FACT_FROZEN:
                self.freezes_told, error = error, 0
            taken.append(Fact(
                FACT_KIND[fact.kind], fact.ifindex, fact.version, int.from_bytes(address, "big"),
                <bytes>fact.mac[:6], fact.monotonic_ns, error, fact.span_ns,
            ))
        return taken

    def taken_lost(self):
        """How many facts of kind TAKEN a flood kept from Python so far. What was probed meanwhile may be taken."""
        return peek(&self.opened().facts.taken_lost)

    def set_link(self, ifindex, name, mac, *, router, link_local, kin, nonce, table):
        """Wish for an interface: answer there for the addresses of `table` (None: for none) with `mac`.

        Replaces the wish before as a whole; when this returns, no frame is judged by the old one any more, and none was
        missed or judged by half a wish in between. The same wish again does nothing, but for opening the sockets anew
        if the interface was gone. `name` only labels statistics and errors. Raises OSError if the sockets cannot be
        opened; the interface then has no link.
        """
        cdef Port port
        cdef Table wanted = NOTHING if table is None else table
        kin = tuple(kin)
        wish = (mac, bool(router), link_local, kin, nonce)
        with self.lock:
            self.opened()
            port = self.ports.get(ifindex)
            # The kernel first: an address that is new is asked for in vain until the thread has it too, but one that
            # both tables hold is answered throughout.
            self.show(ifindex, wanted)
            if port is not None:
                port.name = name
                if port_orphaned(port.port):
                    self.withdraw(port)
                    port.wish = None
                elif port.wish == wish and port.table is wanted:
                    self.delegate(port)
                    return
            else:
                port = Port(ifindex, name)
            wish_before = port.wish
            if wish_before != wish:
                port.link = Link(mac, router=router, link_local=link_local, kin=kin, nonce=nonce)
            if wish_before is None:
                port.open(self.frames, self.filter)
                port.listen(self.watches.versions(ifindex))
            port.wish = wish
            port.table = wanted
            self.ports[ifindex] = port
            self.publish()
            self.delegate(port)

    cdef int delegate(self, Port port) except -1:
        """Have the kernel answer as the thread does by now; in between, who asks it is told what both tables hold."""
        if self.answerer is not None:
            self.answerer.set_link(port.port.ifindex, port.link, port.table)
        return 0

    def prepare(self):
        """Have the kernel make room for the next table, so that `set_link` need not wait for it. This waits, some
        milliseconds, and is for a thread of its own; whoever sets a link meanwhile is not held up.
        """
        self.opened()
        if self.filter is not None:
            self.filter.prepare()

    def set_rates(self, *, rate_per_s, limit):
        """Send and answer at other rates from now on, as for the constructor; the same again forgets nobody."""
        with self.lock:
            self.opened()
            self.set_wished_rates(rate_per_s, limit)
            if self.filter is not None:
                self.filter.set_limit(limit)
            self.publish()

    def set_lease(self, max_gap_ms):
        """Fall silent after having stood still for longer than this (None: never), as after SIGSTOP or a suspension.

        From the moment at which the thread finds out, nothing is answered, whatever waits in the rings, and nothing is
        sent; what waited to be sent is dropped. The fact FROZEN says so, and `resume` ends it. The thread looks at the
        clock three times as often. Without a lease a freeze is over. Expects 1 to 3600000 ms.
        """
        if max_gap_ms is not None and not 1 <= max_gap_ms <= 3_600_000:
            raise ValueError(f"expected a lease of 1 to 3600000 ms, not {max_gap_ms}")
        lease_ns = 0 if max_gap_ms is None else round(max_gap_ms * 1_000_000)
        with self.lock:
            self.opened()
            if lease_ns != self.lease_ns:
                self.lease_ns = lease_ns
                self.publish()

    def resume(self):
        """Speak again after the freezes that `facts` has told of; one that it has not told of yet goes on."""
        with self.lock:
            loop_settle(self.opened(), self.freezes_told)

    def set_members(self, macs):
        """The hardware addresses of our ring's other members from now on, on all interfaces; at most 4096.

        Their claims to our addresses are the fact RIVAL and no conflict; their questions are answered whatever the
        limit, and not remembered. Not for this host's own: those are `kin` of `set_link`.
        """
        macs = frozenset(macs)
        with self.lock:
            self.opened()
            if macs == self.macs:
                return
            members = Members(macs) if macs else None
            if self.filter is not None:
                self.filter.set_members(macs)
            if self.answerer is not None:
                self.answerer.set_members(any_=bool(macs))
            self.members, self.macs = members, macs
            self.publish()

    def drop_link(self, ifindex):
        """Neither answer nor send on an interface any more; does nothing if it has no link."""
        cdef Port port
        with self.lock:
            self.opened()
            port = self.ports.get(ifindex)
            if self.answerer is not None:
                self.answerer.drop_link(ifindex)
            if port is not None:
                self.withdraw(port)
            self.shown.pop(ifindex, None)
            if self.filter is not None:
                self.filter.drop_link(ifindex)

    def set_watches(self, watches):
        """Watch these owners and no others from now on, also on interfaces that have no link yet.

        A watch that was there before goes on, and so does its estate, in force or not; any other estate is void when
        this returns. So to keep what was inherited, put it into the interface's table first; to give it back, only drop
        the watch. An estate is inherited once all of its watches are silent, from an owner that has answered one of
        them before, never from one that this host has not heard. The solicited-node groups of what it has are the
        caller's to join beforehand. Raises OSError if the sockets cannot be opened, and then changes nothing.
        """
        cdef Port port
        cdef Watches wanted, before
        with self.lock:
            self.opened()
            before, wanted = self.watches, Watches(watches, self.watches)
            if wanted.held.keys() == before.held.keys():
                return
            try:
                for port in self.ports.values():
                    port.listen(wanted.versions(port.port.ifindex) | before.versions(port.port.ifindex))
                self.watches = wanted
                for port in self.ports.values():
                    self.show(port.port.ifindex, port.table)
                self.publish()
            except BaseException:
                self.watches = before
                raise
            finally:
                for port in self.ports.values():
                    port.listen(self.watches.versions(port.port.ifindex))

    def set_filter(self, ifindex, version, program):
        """Replace the filter of one socket by the eBPF program `program`, or by the classic one (None), without a gap.

        The kernel keeps the program; the descriptor may be closed. Raises KeyError without a link, OSError if refused.
        """
        cdef Port port
        cdef int family = VERSIONS.index(version)
        cdef int descriptor = -1 if program is None else program
        with self.lock:
            self.opened()
            port = self.ports.get(ifindex)
            if port is None:
                raise KeyError(ifindex)
            if not ring_filter(port.port.ring[family].fd, family_protocol[family], descriptor):
                raise failure("attach the filter to a packet socket", port.name)

    def send(self, messages):
        """Queue messages, to be sent in order on each interface, and interfaces in turn; returns how many were taken.

        Stops at the first one whose interface's queue is full: the fact ROOM then says when to go on. Those for
        interfaces without a link count as taken, and as dropped. A message has at most 2**24 addresses.
        """
        cdef Port port
        cdef message_t message
        cdef int taken = 0
        with self.lock:
            self.opened()
            try:
                for wish in messages:
                    pack_message(&message, wish)
                    port = self.ports.get(wish.ifindex)
                    if port is None:
                        self.messages_dropped += 1
                    elif not queue_put(&port.port.queue, &message):
                        break
                    taken += 1
            finally:
                loop_ring(self.loop)
        return taken

    def statistics(self):
        """Counts since the start, of all links."""
        cdef Port port
        with self.lock:
            self.opened()
            links = []
            for port in self.ports.values():
                link = port.statistics()
                if self.answerer is not None:
                    link = link.with_kernel(*self.answerer.on(link.ifindex))
                links.append(link)
            freezes = peek(&self.loop.lease.freezes)
            return Statistics(
                tuple(links), peek(&self.loop.facts.lost), self.messages_dropped,
                frozen=freezes != peek(&self.loop.lease.settled), freezes=freezes,
                fifo=self.loop.fifo,
                watches=self.watches.statistics(),
                watched=WatchTotals(
                    questions=peek(&self.loop.watched.questions),
                    answers=peek(&self.loop.watched.answers),
                    silences=peek(&self.loop.watched.silences),
                    suspensions=peek(&self.loop.watched.suspensions),
                    inherited=peek(&self.loop.watched.inherited),
                ),
            )

    def asked(self, version, address):
        """Who was answered last for an address, if that is still remembered: the memory is small, and forgets."""
        cdef uint8_t[16] packed
        cdef asker_t asker
        self.opened()
        pack(packed, version, address)
        found = [] if self.answerer is None else [self.answerer.asked(version, address)]
        if asked_find(&self.loop.asked, version, packed, &asker):
            found.append(Asked(<bytes>asker.mac[:6], asker.ifindex, asker.monotonic_ns))
        return max(filter(None, found), key=attrgetter("monotonic_ns"), default=None)

    def askers(self, at_most):
        """Who asked lately for whatever address, the latest first; other members, and who only probed, are in none.

        Of at most 1024 hosts that are remembered; some are forgotten before they are that many.
        """
        cdef asker_t asker
        cdef int place
        self.opened()
        found = [] if self.answerer is None else self.answerer.askers()
        for place in range(ASKERS_SIZE):
            if askers_read(&self.loop.askers, place, &asker):
                address = asker.address[:4] if asker.version == 4 else asker.address[:16]
                found.append(Asker(
                    <bytes>asker.mac[:6], asker.ifindex, asker.version, int.from_bytes(address, "big"),
                    asker.monotonic_ns,
                ))
        found.sort(key=attrgetter("monotonic_ns"), reverse=True)
        # the latest of each: one may have been answered by the thread as well as by the kernel
        latest = {}
        for one in found:
            latest.setdefault((one.mac, one.ifindex, one.version, one.address), one)
        return tuple(latest.values())[:at_most]
