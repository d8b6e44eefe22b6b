"""A member of a ring, on sockets: `Protocol` driven by the event loop.

One UDP socket and one listening TCP socket on the same port. All runs on the event loop of whoever calls; nothing here
blocks. Packets are read before time is let pass, so that an answer that has arrived counts although the loop was late.
The listener is called from within; it may call back, and what comes of that is carried out before control returns.

Bounds against a hostile network: so many streams at a time, each with a deadline, and STREAM_BYTES for what all of
them hold together; see `wire` and `streams` for what a packet and a stream may contain.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from ipaddress import ip_address
from random import SystemRandom
from typing import TYPE_CHECKING

from arpfast.gossip.beliefs import Changed
from arpfast.gossip.dialling import Dialler, take_over
from arpfast.gossip.endpoints import family_of, parse_target, resolve, source_towards
from arpfast.gossip.joining import Joiner
from arpfast.gossip.messages import Cause, Err, Ping, WireError, encode
from arpfast.gossip.protocol import Heard, Protocol
from arpfast.gossip.streams import STREAM_AT_MOST, PushPull, Reading, StreamMessage, User, framed
from arpfast.gossip.wire import Wire
from arpfast.serving import Listener as Accepting

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from arpfast.gossip.counting import Statistics
    from arpfast.gossip.joining import Missing
    from arpfast.gossip.keys import Key
    from arpfast.gossip.members import Endpoint, Member
    from arpfast.gossip.protocol import Event
    from arpfast.gossip.settings import Listener, Settings
    from arpfast.serving import Stream

STREAMS_AT_MOST = 32
STREAM_BYTES = STREAM_AT_MOST
READS_AT_ONCE = 64
"""Packets read before others get their turn."""
_RECEIVE_BUFFER = 2 << 20
_PORT_TRIES = 16


class Node:
    """One member. `open` it, `leave` and `close` it; or have `run` do the first and the last."""

    def __init__(self, settings: Settings, listener: Listener, random: Random | None = None) -> None:
        """Nothing is opened yet."""
        self._settings, self._listener = settings, listener
        self._random = random or SystemRandom()
        self._wire = Wire(settings.label, settings.keys, compress=settings.compress)
        self._keys = settings.keys
        self._held = 0
        self._turning = False
        self._opened = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = asyncio.Event()

    async def open(self) -> None:
        """Bind, and begin to join. Raises OSError."""
        settings = self._settings
        family = family_of(settings.bind)
        targets = [parse_target(text, settings.port) for text in settings.join]
        address = settings.advertise or settings.bind
        if ip_address(address).is_unspecified:
            endpoints: list[Endpoint] = []
            for target in targets:
                with contextlib.suppress(OSError, TimeoutError):
                    endpoints += await resolve(target, family)
            address = source_towards(endpoints, family)
        self._udp, listening = _bound(family, settings.bind, settings.port)
        port: int = listening.getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol = Protocol(
            settings.name, ip_address(address).packed, settings.advertise_port or port, settings.timing, self._wire,
            self._random, self._loop.time(), settings.meta,
        )  # fmt: skip
        self._dialler = Dialler(protocol, self._listener, settings.timing.tcp_timeout_s, self._turn)
        self._accepting = Accepting(listening, self._serve, STREAMS_AT_MOST, b"")
        self._loop.add_reader(self._udp, self._readable)
        self._joiner = Joiner(
            protocol, self._dialler, settings.timing, (settings.bind, port), self._random, self._listener.refused
        )
        self._joiner.want(settings.join)
        self._opened = True
        self._turn()

    async def run(self) -> None:
        """`open`, and be a member until `close` or until cancelled; to the others that is death, so `leave` first."""
        await self.open()
        try:
            await self._closed.wait()
        finally:
            await self.close()

    async def leave(self, timeout_s: float) -> bool:
        """Tell the others that we go, and wait until that was told; whether it was in time. `close` then."""
        told = asyncio.Event()
        await self._joiner.close()
        self._protocol.leave(self._loop.time(), told.set)
        self._turn()
        try:
            async with asyncio.timeout(timeout_s):
                await told.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Be silent at once. May be called again, and before `open`."""
        if self._closed.is_set():
            return
        self._closed.set()
        if not self._opened:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._udp)
        self._udp.close()
        await self._joiner.close()
        await self._dialler.close()
        await self._accepting.close()

    # What is known

    @property
    def me(self) -> Member:
        """As others see us."""
        return self._protocol.me

    def members(self) -> tuple[Member, ...]:
        """All that are known, we included, dead ones too."""
        return self._protocol.members()

    def find(self, name: str) -> Member | None:
        """One of them."""
        return self._protocol.find(name)

    def missing(self) -> tuple[Missing, ...]:
        """Which of the configured members are not there, and why they could not be joined."""
        return self._joiner.missing()

    def statistics(self) -> Statistics:
        """How we are doing."""
        return self._protocol.statistics()

    # What is wanted

    def set_meta(self, meta: bytes) -> None:
        """Tell the others something else about us. Raises ValueError for more than 512 bytes."""
        self._protocol.set_meta(meta, self._loop.time())
        self._turn()

    def set_join(self, join: Iterable[str]) -> None:
        """Replace the configured members. Raises ValueError, and changes nothing then."""
        self._joiner.want(join)

    def set_keys(self, keys: Iterable[Key]) -> None:
        """Replace the keys: the first seals, all open. See `keys` for how to change one without a gap."""
        self._wire.set_keys(keys)

    def broadcast(self, topic: str, payload: bytes) -> None:
        """Spread a user message; it replaces an older one of the topic that still waits.

        It goes to members at random, that broadcast it again if they want. Raises ValueError when it is too long for a
        packet (some 1300 bytes).
        """
        self._protocol.broadcast(topic, payload, self._loop.time())
        self._turn()

    def send(self, payload: bytes, *names: str) -> int:
        """Send a user message to these members now, over a stream if it is long; how many of them are known."""
        known = self._protocol.send(payload, names)
        self._turn()
        return known

    def exchange(self, name: str) -> bool:
        """Exchange the whole view with this member soon; whether it is known."""
        known = self._protocol.exchange(name)
        self._turn()
        return known

    def condemn(self, name: str) -> bool:
        """There is proof from outside that a suspect is dead: it is, at once, and for all; whether it was a suspect."""
        was = self._protocol.condemn(name, self._loop.time())
        self._turn()
        return was

    # The loop

    def _readable(self) -> None:
        self._read()
        self._turn()

    def _due(self) -> None:
        self._timer = None
        self._read()
        self._turn()

    def _read(self) -> None:
        protocol, now = self._protocol, self._loop.time()
        for _ in range(READS_AT_ONCE):
            try:
                packet, source = self._udp.recvfrom(65536)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # what became of a packet that we sent
                continue
            protocol.receive(packet, (source[0], source[1]), now)

    def _turn(self) -> None:
        """Carry out what the protocol wants, until it wants nothing."""
        if self._turning or self._closed.is_set():
            return
        self._turning = True
        protocol = self._protocol
        try:
            while True:
                now = self._loop.time()
                if protocol.next_deadline() <= now:
                    protocol.advance(now)
                packets, dials, events = protocol.take()
                for endpoint, packet in packets:
                    self._send(endpoint, packet, now)
                for dial in dials:
                    self._dialler.start(dial)
                for event in events:
                    self._tell(event)
                if not (packets or events):
                    break
        finally:
            self._turning = False
        due = protocol.next_deadline()
        if self._timer is None or due < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._due)

    def _send(self, endpoint: Endpoint, packet: bytes, now: float) -> None:
        try:
            self._udp.sendto(packet, endpoint)
        except OSError:
            self._protocol.unsent(endpoint, now)

    def _tell(self, event: Event) -> None:
        if isinstance(event, Changed):
            self._listener.changed(event.member, event.before)
        elif isinstance(event, Heard):
            self._listener.heard(event.payload)
        else:
            self._listener.conflict(event.member, event.address, event.port)

    # Streams that others open

    async def _serve(self, client: Stream) -> None:
        counts = self._protocol.counts
        counts.streams_received += 1
        reading = Reading(self._wire)
        try:
            async with asyncio.timeout(self._settings.timing.tcp_timeout_s):
                told = None
                while told is None:
                    chunk = await client.read()
                    if not chunk and not reading.held:
                        return  # a look whether somebody listens
                    self._held += len(chunk)
                    if self._held > STREAM_BYTES:
                        raise WireError(
                            Cause.TOO_LARGE, f"expected at most {STREAM_BYTES} bytes on all streams at once"
                        )
                    told = reading.feed(chunk)
                await self._answer(client, told)
        except WireError as error:
            self._protocol.refuse(error)
            counts.streams_failed += 1
            if error.cause is not Cause.LABEL:
                await client.write(framed(self._wire, encode(Err(str(error))), reply=True))
        except (OSError, TimeoutError):
            counts.streams_failed += 1
        finally:
            self._held -= reading.held

    async def _answer(self, client: Stream, told: StreamMessage) -> None:
        protocol = self._protocol
        if isinstance(told, PushPull):
            mine = protocol.state_message(self._listener.state(), join=told.join)
            await client.write(framed(self._wire, mine, reply=True))
            protocol.counts.exchanges += 1
            take_over(protocol, self._listener, told, self._loop.time(), join=told.join)
        elif isinstance(told, Ping):
            if (ack := protocol.stream_ack(told)) is not None:
                await client.write(framed(self._wire, ack, reply=True))
        elif isinstance(told, User):
            self._listener.heard(told.payload)
        else:
            raise WireError(Cause.MALFORMED, f"expected a request, not {type(told).__name__}")
        self._turn()


def _bound(family: socket.AddressFamily, address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on the same port. Raises OSError, saying on what."""
    for attempt in range(_PORT_TRIES):
        with contextlib.ExitStack() as stack:
            udp, tcp = (
                stack.enter_context(socket.socket(family, kind | socket.SOCK_NONBLOCK))
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
            )
            if family == socket.AF_INET6:
                for each in (udp, tcp):
                    each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            try:
                tcp.bind((address, port))
                udp.bind((address, tcp.getsockname()[1]))
            except OSError as error:
                if port == 0 and error.errno == errno.EADDRINUSE and attempt < _PORT_TRIES - 1:
                    continue
                raise OSError(error.errno, f"{error.strerror} (the ring, on {address} port {port})") from None
            tcp.listen(STREAMS_AT_MOST)
            stack.pop_all()
            return udp, tcp
    raise AssertionError
