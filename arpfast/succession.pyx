"""Owns what the thread needs to watch others and to take over from them, and packs messages for it.

A `HeldWatch` and a `HeldEstate` live from the plan that first names them to the one that no longer does, however many
come in between: what the thread has noted in them stays (`watch.h`, `estate.h`). The responder sees to that.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from arpfast.answer cimport Table
from arpfast.loop cimport (
    MESSAGE_TELL, estate_free, estate_new, estates_alive, message_t, watch_free, watch_new, watches_alive,
)

from arpfast.crossing import MessageKind, WatchStatistics

__all__ = ["HeldEstate", "HeldWatch", "Watches", "alive"]

LARGEST_SPAN = 1 << 24
INTERVALS_MS = (1, 60_000)
MISSES = (1, 1000)


def alive():
    """How many watches and estates hold memory, in this process."""
    return watches_alive, estates_alive


cdef int pack(uint8_t *field, int version, object address) except -1:
    """Write an address as it lies on the wire, IPv4 in the first four bytes."""
    cdef bytes packed = address.to_bytes(4 if version == 4 else 16, "big")
    memset(field, 0, 16)
    memcpy(field, <const char *>packed, len(packed))
    return 0


cdef int pack_message(message_t *message, object wish) except -1:
    """Write a Message as the thread has it; raises ValueError if it cannot be sent."""
    version, first, last = wish.span
    size = last - first + 1
    if not 1 <= size <= LARGEST_SPAN:
        raise ValueError(f"expected 1 to {LARGEST_SPAN} addresses in a message, not {size}")
    message.left = size
    message.kind = MessageKind(wish.kind)
    message.version = version
    pack(message.address, version, first)
    pack(message.target, version, wish.target)
    if message.kind == MESSAGE_TELL:
        if len(wish.mac) != 6:
            raise ValueError(f"expected 6 bytes of mac in a message that tells, not {len(wish.mac)}")
        memcpy(message.mac, <const char *><bytes>wish.mac, 6)
    return 0


cdef class HeldEstate:
    """What an `arpfast.crossing.Estate` is to the thread."""

    def __cinit__(self, wish):
        cdef uint32_t place
        cdef Table table
        places = {}
        for ifindex, _ in wish.tables:
            if ifindex in places:
                raise ValueError(f"expected one table for interface {ifindex} in an estate, not more")
            places[ifindex] = len(places)
        for message in wish.messages:
            places.setdefault(message.ifindex, len(places))
        cdef uint32_t *counts = <uint32_t *>calloc(len(places) + 1, sizeof(uint32_t))
        if counts is NULL:
            raise MemoryError("no memory for an estate")
        for message in wish.messages:
            place = places[message.ifindex]
            counts[place] += 1
        self.estate = estate_new(len(places), counts)
        free(counts)
        if self.estate is NULL:
            raise MemoryError("no memory for an estate")
        for ifindex, place in places.items():
            self.estate.bequests[place].ifindex = ifindex
        for ifindex, table in wish.tables:
            place = places[ifindex]
            self.estate.bequests[place].table = table.table
        for message in wish.messages:
            place = places[message.ifindex]
            pack_message(&self.estate.bequests[place].messages[self.estate.bequests[place].count], message)
            self.estate.bequests[place].count += 1
        self.tables = wish.tables
        self.wish = wish

    def __dealloc__(self):
        estate_free(self.estate)


cdef class HeldWatch:
    """What an `arpfast.crossing.Watch` is to the thread. Without an estate it only tells."""

    def __cinit__(self, wish, HeldEstate estate):
        if not INTERVALS_MS[0] <= wish.interval_ms <= INTERVALS_MS[1]:
            raise ValueError("expected an interval of {} to {} ms, not {}".format(*INTERVALS_MS, wish.interval_ms))
        if not MISSES[0] <= wish.misses <= MISSES[1]:
            raise ValueError("expected {} to {} misses, not {}".format(*MISSES, wish.misses))
        if len(wish.mac) != 6:
            raise ValueError(f"expected 6 bytes of the owner's mac, not {len(wish.mac)}")
        self.watch = watch_new()
        if self.watch is NULL:
            raise MemoryError("no memory for a watch")
        self.watch.ifindex = wish.ifindex
        self.watch.misses = wish.misses
        self.watch.interval_ns = round(wish.interval_ms * 1_000_000)
        self.watch.version = wish.version
        memcpy(self.watch.mac, <const char *><bytes>wish.mac, 6)
        pack(self.watch.address, wish.version, wish.address)
        if estate is not None:
            self.estate = estate
            self.watch.estate = estate.estate
        self.wish = wish

    def __dealloc__(self):
        watch_free(self.watch)


cdef class Watches:
    """All that is watched at a time; what was watched before goes on. Immutable but for what the thread notes."""

    def __cinit__(self, wishes=(), Watches before=None):
        cdef HeldWatch held
        self.held, self.estates = {}, []
        kept = {} if before is None else before.held
        estates = {} if before is None else {estate.wish: estate for estate in before.estates}
        known = {whom(held.wish) for held in kept.values() if held.watch.known}
        mute = {whom(held.wish) for held in kept.values() if held.watch.silent or held.watch.mute}
        for wish in wishes:
            if wish in kept:
                self.held[wish] = kept[wish]
                continue
            estate = None
            if wish.estate is not None:
                estate = estates.get(wish.estate)
                if estate is None:
                    estate = estates[wish.estate] = HeldEstate(wish.estate)
            held = self.held[wish] = HeldWatch(wish, estate)
            held.watch.known = wish.mute or whom(wish) in known
            held.watch.mute = wish.mute or whom(wish) in mute
        for held in self.held.values():
            if held.estate is not None and held.estate not in self.estates:
                self.estates.append(held.estate)

    cdef set versions(self, ifindex):
        """Of which versions there are watches on an interface."""
        return {wish.version for wish in self.held if wish.ifindex == ifindex}

    cdef list tables(self, ifindex):
        """What estates have to answer on an interface."""
        return [table for estate in self.estates for at, table in estate.wish.tables if at == ifindex]

    cdef tuple statistics(self):
        cdef HeldWatch held
        counted = []
        for held in self.held.values():
            inherited = held.estate is not None and held.estate.estate.inherited
            counted.append(WatchStatistics(held.wish, held.watch.silent, held.watch.suspended, inherited))
        return tuple(counted)


cdef tuple whom(object wish):
    """The owner that a watch is about, whatever becomes of what it has."""
    return wish.ifindex, wish.version, wish.address, wish.mac
