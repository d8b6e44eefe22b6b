"""What Python's values look like to the thread: see succession.pyx."""

from libc.stdint cimport uint8_t

from arpfast.loop cimport estate_t, message_t, watch_t

cdef int pack(uint8_t *field, int version, object address) except -1
cdef int pack_message(message_t *message, object wish) except -1


cdef class HeldEstate:
    cdef estate_t *estate
    cdef readonly object wish
    cdef tuple tables  # what `estate` points to


cdef class HeldWatch:
    cdef watch_t *watch
    cdef readonly object wish
    cdef HeldEstate estate  # what `watch` points to


cdef class Watches:
    cdef dict held  # Watch -> HeldWatch
    cdef list estates  # the HeldEstates that they name, each once

    cdef set versions(self, ifindex)
    cdef list tables(self, ifindex)
    cdef tuple statistics(self)
