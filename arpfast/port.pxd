"""One interface of a responder: see port.pyx."""

from libc.stdint cimport uint32_t

from arpfast.answer cimport Link, Table
from arpfast.loop cimport port_t

cdef object failure(str attempted, object interface)


cdef class Port:
    cdef port_t *port
    cdef object wish
    cdef Link link
    cdef Table table
    cdef str name

    cdef int open(self, uint32_t frames, object filter_) except -1
    cdef int listen(self, object watched) except -1
    cdef object statistics(self)
