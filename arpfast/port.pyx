"""Owns the sockets of one interface, and what the thread's plan points to there (`port.h`).

The responder makes ports, opens them where the calling thread is, and drops them when the thread has let go.
"""

from libc.errno cimport errno
from libc.stdint cimport uint32_t

from arpfast.loop cimport (
    FAMILIES, family_t, peek, port_count_drops, port_free, port_listen, port_new, port_open, port_t, ports_alive,
    queue_length,
)

import os

from arpfast.answer import Verdict
from arpfast.crossing import LinkStatistics, MessageKind

__all__ = ["Port", "alive"]

VERSIONS = (4, 6)  # by the C enum's family

cdef tuple VERDICTS = tuple(Verdict)
cdef tuple MESSAGE_KIND = tuple(MessageKind)


def alive():
    """How many ports hold memory, in this process."""
    return ports_alive


cdef object failure(str attempted, object interface):
    """The error that errno stands for, with what was attempted, and where."""
    cdef int error = errno
    return OSError(error, f"could not {attempted}: {os.strerror(error)}", interface)


cdef class Port:
    """Owns the sockets of one interface, and holds what its entry in the plan points to."""

    def __cinit__(self, uint32_t ifindex, str name):
        self.port = port_new(ifindex)
        if self.port is NULL:
            raise MemoryError(f"no memory for interface {name}")
        self.name = name

    def __dealloc__(self):
        with nogil:  # closing a packet socket waits until no processor is in it: tens of milliseconds
            port_free(self.port)

    cdef int open(self, uint32_t frames, object filter_) except -1:
        cdef int[2] programs
        cdef const char *failed
        for family in range(FAMILIES):
            programs[family] = -1 if filter_ is None else filter_.socket_program(VERSIONS[family])
        with nogil:
            failed = port_open(self.port, frames, programs)
        if failed is not NULL:
            raise failure(failed.decode(), self.name)
        return 0

    cdef int listen(self, object watched) except -1:
        """Hear the answers to watches of the `watched` versions, and of no other: those the thread must have let go."""
        for family in range(FAMILIES):
            if not port_listen(self.port, <family_t><int>family, VERSIONS[family] in watched):
                raise failure("open a packet socket for a watch", self.name)
        return 0

    cdef object statistics(self):
        cdef port_t *port = self.port
        port_count_drops(port)
        return LinkStatistics(
            ifindex=port.ifindex,
            name=self.name,
            verdicts={verdict: peek(&port.verdicts[<int>i]) for i, verdict in enumerate(VERDICTS)},
            drops=peek(&port.drops),
            sent={kind: peek(&port.sent[<int>i]) for i, kind in enumerate(MESSAGE_KIND)},
            send_errors=peek(&port.send_errors),
            socket_errors=peek(&port.socket_errors),
            queued=queue_length(&port.queue),
            withheld=peek(&port.withheld),
        )
