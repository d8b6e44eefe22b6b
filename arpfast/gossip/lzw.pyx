"""LZW as the messages of a ring are compressed with it: least significant bit first, eight-bit literals, codes of 9 to
12 bits (the flavour of GIF, with `clear` sent first and whenever the table is full).

Input is not trusted: the output never grows beyond what the caller allows, and every code is checked. The tables live
on the stack and the buffers are Python's own, so nothing here outlives a call.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

cdef enum:
    CLEAR = 256
    END = 257
    WIDTH_AT_FIRST = 9
    WIDTH_AT_MOST = 12
    CODES = 1 << WIDTH_AT_MOST
    NO_CODE = CODES
    PLACES = 4 * CODES   # of the encoder's hash table; a key is never 0, since a code follows
    PLACE_BITS = 14

cdef extern from *:
    """
    /* Bits that wait to become whole bytes, least significant first. */
    struct lzw_bits { uint32_t held; unsigned count; };
    """
    struct lzw_bits:
        uint32_t held
        unsigned count


class LzwError(ValueError):
    """Not an LZW stream, or one that unpacks to more than was allowed."""


cdef Py_ssize_t _expand(const uint8_t *data, Py_ssize_t length, uint8_t *out, Py_ssize_t room) noexcept nogil:
    """How long the output is, of which at most `room` is written; -1 for what is no such stream."""
    cdef uint16_t prefix[CODES]
    cdef uint8_t suffix[CODES]
    cdef uint8_t backwards[CODES]
    cdef uint8_t first = 0
    cdef lzw_bits bits = [0, 0]
    cdef unsigned width = WIDTH_AT_FIRST, code, at, last = NO_CODE, highest = END
    cdef Py_ssize_t n = 0, filled = 0, depth
    while True:
        while bits.count < width:
            if n == length:
                return -1   # no END
            bits.held |= <uint32_t>data[n] << bits.count
            bits.count += 8
            n += 1
        code = bits.held & ((1u << width) - 1)
        bits.held >>= width
        bits.count -= width
        if code == CLEAR:
            width, highest, last = WIDTH_AT_FIRST, END, NO_CODE
            continue
        if code == END:
            return filled
        depth = 0
        at = code
        if code > highest:
            return -1
        if code == highest and last != NO_CODE:   # the very code that this step defines
            backwards[0] = first
            depth = 1
            at = last
        while at >= CLEAR:
            backwards[depth] = suffix[at]
            depth += 1
            at = prefix[at]
        first = <uint8_t>at
        backwards[depth] = first
        depth += 1
        if last != NO_CODE:
            prefix[highest] = <uint16_t>last
            suffix[highest] = first
        if filled + depth > room:
            return room + 1
        while depth:
            depth -= 1
            out[filled] = backwards[depth]
            filled += 1
        last = code
        highest += 1
        if highest >= 1u << width:
            if width == WIDTH_AT_MOST:
                last = NO_CODE   # full: nothing more is defined until CLEAR
                highest -= 1
            else:
                width += 1


def decompress(data: bytes, at_most: int) -> bytes:
    """What `data` holds, if that is not more than `at_most` bytes. Raises LzwError."""
    cdef Py_ssize_t limit = at_most, room = min(limit, max(4096, 4 * len(data))), filled
    cdef const uint8_t[::1] view = data
    cdef const uint8_t *start = &view[0] if len(data) else NULL
    cdef Py_ssize_t length = len(data)
    cdef bytes out
    while True:
        out = PyBytes_FromStringAndSize(NULL, room)
        filled = _expand(start, length, <uint8_t *>PyBytes_AS_STRING(out), room)
        if filled < 0:
            raise LzwError("expected an LZW stream that ends as one")
        if filled <= room:
            return out[:filled]
        if room == limit:
            raise LzwError(f"expected at most {at_most} bytes once decompressed, not more")
        room = min(limit, room * 8)


cdef struct lzw_writer:
    uint8_t *out
    Py_ssize_t length
    lzw_bits bits


cdef inline void _write(lzw_writer *writer, uint32_t code, unsigned width) noexcept nogil:
    writer.bits.held |= code << writer.bits.count
    writer.bits.count += width
    while writer.bits.count >= 8:
        writer.out[writer.length] = <uint8_t>writer.bits.held
        writer.length += 1
        writer.bits.held >>= 8
        writer.bits.count -= 8


cdef Py_ssize_t _shrink(const uint8_t *data, Py_ssize_t length, uint8_t *out) noexcept nogil:
    """How long the output is; there is room for twice the input and a little."""
    cdef uint32_t table[PLACES]   # key << 12 | code, where the key is a code and the byte that follows it
    cdef lzw_writer writer = [out, 0, [0, 0]]
    cdef unsigned width = WIDTH_AT_FIRST, highest = END, code, place
    cdef uint32_t key
    cdef Py_ssize_t n
    memset(table, 0, sizeof(table))
    _write(&writer, CLEAR, width)
    if length:
        code = data[0]
        for n in range(1, length):
            key = code << 8 | data[n]
            place = (key * 2654435761u) >> (32 - PLACE_BITS)
            while table[place] and table[place] >> 12 != key:
                place = (place + 1) & (PLACES - 1)
            if table[place]:
                code = table[place] & (CODES - 1)
                continue
            _write(&writer, code, width)
            code = data[n]
            highest += 1
            if highest == 1u << width:
                width += 1
            if highest == CODES - 1:
                _write(&writer, CLEAR, width)
                memset(table, 0, sizeof(table))
                width, highest = WIDTH_AT_FIRST, END
            else:
                table[place] = key << 12 | highest
        _write(&writer, code, width)
        highest += 1
        if highest == 1u << width:
            width += 1
        if highest == CODES - 1:
            _write(&writer, CLEAR, width)
            width = WIDTH_AT_FIRST
    _write(&writer, END, width)
    if writer.bits.count:
        _write(&writer, 0, 8 - writer.bits.count)
    return writer.length


def compress(data: bytes) -> bytes:
    """The LZW stream of `data`."""
    cdef const uint8_t[::1] view = data
    cdef Py_ssize_t length = len(data)
    cdef const uint8_t *start = &view[0] if length else NULL
    cdef Py_ssize_t filled
    cdef bytes out = PyBytes_FromStringAndSize(NULL, 2 * length + 64)
    filled = _shrink(start, length, <uint8_t *>PyBytes_AS_STRING(out))
    return out[:filled]
