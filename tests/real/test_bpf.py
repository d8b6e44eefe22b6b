"""The programs in the kernel: all that answer() wants passes, what is foreign does not, and nothing stays behind."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arpfast.answer import Table, Verdict, answer
from arpfast.bpf.programs import Filter
from arpfast.crossing import RateLimit
from arpfast.spans import Span, Spans
from lab import Advertisement, Arp, Mac, Solicitation
from tests.arpfast.scene import HIM4, HIM6, LINK, OWN4, OWN6, PROXY4, PROXY6, TABLE, TENTATIVE4, TENTATIVE6
from tests.arpfast.test_reference import ARP, NA, NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


SO_ATTACH_BPF = 50
HIS = Mac("02:00:00:00:00:99")
OTHER = Mac("02:00:00:00:00:77")
WANTED = {Verdict.REPLY, Verdict.CONFLICT, Verdict.TAKEN, Verdict.RIVAL, Verdict.CONFIRMED, Verdict.TENTATIVE}
LIMIT = RateLimit(per_mac_per_s=1, burst=5, total_per_s=1_000_000)


class Sieve:
    """The filters on sockets that pass frames as they are: not even Ethernet's least length holds here."""

    def __init__(self, filter_: Filter) -> None:
        self.filter = filter_
        self.pairs = {version: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for version in (4, 6)}
        for version, (_, reader) in self.pairs.items():
            reader.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, filter_.socket_program(version))
            reader.setblocking(False)

    def passes(self, version: int, frame: bytes) -> bool:
        writer, reader = self.pairs[version]
        writer.send(frame)
        try:
            return reader.recv(65536) == frame
        except BlockingIOError:
            return False

    def asks(self, address: IPv4Address | IPv6Address, mac: bytes = HIS) -> bool:
        if isinstance(address, IPv4Address):
            return self.passes(4, Arp.request(mac, HIM4, address).encode())
        return self.passes(6, Solicitation.ask(mac, HIM6, address).encode())

    def close(self) -> None:
        for pair in self.pairs.values():
            for end in pair:
                end.close()
        self.filter.close()


@pytest.fixture
def sieve() -> Iterator[Sieve]:
    """Frames in a socket pair have no interface: index 0."""
    sieve = Sieve(Filter())
    sieve.filter.set_table(0, TABLE)
    yield sieve
    sieve.close()


@settings(max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.tuples(st.just(4), ARP) | st.tuples(st.just(6), NS | NA),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=3),
    st.just(2048) | st.integers(1, 120),
)
def test_all_that_answer_wants_passes(
    sieve: Sieve, frame: tuple[int, bytes], bends: list[tuple[int, int]], cut: int
) -> None:
    version, bent = frame[0], bytearray(frame[1])
    for at, value in bends:
        bent[at % len(bent)] = value
    outcome = answer(TABLE, LINK, bytes(bent[:cut]))
    if outcome.verdict in WANTED:
        version = outcome.version
        assert sieve.passes(version, bytes(bent[:cut]))
    elif outcome.verdict is Verdict.NOT_OURS:
        assert not sieve.passes(outcome.version, bytes(bent[:cut]))


@pytest.mark.parametrize(
    ("frame", "passes"),
    [
        pytest.param(Arp.request(HIS, HIM4, OWN4).encode(), True, id="request"),
        pytest.param(Arp.request(HIS, "0.0.0.0", OWN4).encode(), True, id="probe"),
        pytest.param(Arp.request(HIS, OWN4, HIM4).encode(), True, id="conflict in a request for another"),
        pytest.param(Arp.request(HIS, OWN4, OWN4).encode(), True, id="conflict in an announcement"),
        pytest.param(Arp.reply(HIS, OWN4, OTHER, HIM4).encode(), True, id="conflict in a reply"),
        pytest.param(Arp.reply(HIS, HIM4, OTHER, OWN4).encode(), True, id="confirmation"),
        pytest.param(Arp.request(HIS, TENTATIVE4, TENTATIVE4).encode(), True, id="tentative taken"),
        pytest.param(Arp.request(HIS, HIM4, PROXY4).encode(), True, id="request for proxied"),
        pytest.param(Arp.request(HIS, PROXY4, HIM4).encode(), False, id="who is proxied asks for another"),
        pytest.param(Arp.request(HIS, HIM4, "192.0.2.98").encode(), False, id="foreign"),
        pytest.param(Arp.reply(HIS, HIM4, OTHER, "192.0.2.98").encode(), False, id="foreign reply"),
        pytest.param(Solicitation.ask(HIS, HIM6, OWN6).encode(), True, id="solicitation"),
        pytest.param(Solicitation.ask(HIS, "::", OWN6).encode(), True, id="duplicate address detection"),
        pytest.param(Solicitation.ask(HIS, OWN6, HIM6).encode(), True, id="conflict in a solicitation"),
        pytest.param(Solicitation.ask(HIS, "::", TENTATIVE6).encode(), True, id="tentative solicited"),
        pytest.param(Solicitation.ask(HIS, HIM6, PROXY6).encode(), True, id="solicitation of proxied"),
        pytest.param(Solicitation.ask(HIS, HIM6, "2001:db8::98").encode(), False, id="foreign solicitation"),
        pytest.param(Advertisement.tell(HIS, OWN6).encode(), True, id="conflict in an advertisement"),
        pytest.param(
            Advertisement.tell(HIS, HIM6, to=OTHER, ip_destination=OWN6, solicited=True).encode(), True,
            id="solicited advertisement",
        ),
        pytest.param(Advertisement.tell(HIS, HIM6).encode(), False, id="foreign advertisement"),
    ],
)  # fmt: skip
def test_what_concerns_us(sieve: Sieve, frame: bytes, *, passes: bool) -> None:
    version = 4 if frame[12:14] == b"\x08\x06" else 6
    assert sieve.passes(version, frame) is passes
    assert sieve.filter.statistics().passed == passes
    assert sieve.filter.statistics().foreign == (not passes)
    for length in range(1, 42 if version == 4 else 78):
        assert not sieve.passes(version, frame[:length])


@pytest.mark.parametrize(
    ("version", "frame"),
    [
        pytest.param(4, b"\0", id="one byte"),
        pytest.param(4, Solicitation.ask(HIS, HIM6, OWN6).encode(), id="IPv6 to the ARP socket"),
        pytest.param(6, Arp.request(HIS, HIM4, OWN4).encode().ljust(90, b"\0"), id="ARP to the IPv6 socket"),
        pytest.param(4, Arp.request(HIS, HIM4, OWN4).encode()[:41], id="ARP one byte short"),
        pytest.param(6, Solicitation.ask(HIS, HIM6, OWN6).encode()[:77], id="solicitation one byte short"),
        pytest.param(6, Solicitation.ask(HIS, HIM6, OWN6).encode().replace(b"\x3a", b"\x06", 1), id="TCP"),
        pytest.param(6, Solicitation.ask(HIS, HIM6, OWN6).encode().replace(b"\x87", b"\x88\x00", 1)[:60], id="cut"),
    ],
)
def test_malformed(sieve: Sieve, version: int, frame: bytes) -> None:
    assert not sieve.passes(version, frame)
    assert sieve.filter.statistics().malformed == 1


def address_of(version: int) -> Callable[[int], IPv4Address | IPv6Address]:
    return IPv4Address if version == 4 else IPv6Address


@pytest.mark.parametrize(
    ("count", "scattered"), [(1, False), (1000, False), (1_000_000, False), (1, True), (1000, True), (100_000, True)]
)
@pytest.mark.parametrize("version", [4, 6])
def test_look_up_is_that_of_user_space(version: int, count: int, *, scattered: bool) -> None:
    number = random.Random(7)
    first = int(IPv4Address("10.0.0.0")) if version == 4 else int(IPv6Address("2001:db8::"))
    span = 1 << 31 if version == 4 else 1 << 90
    if scattered:
        ours = sorted({first + number.randrange(span) for _ in range(count)})
        spans = Spans(Span(version, address, address) for address in ours)  # type: ignore[arg-type]
    else:
        ours = [first + number.randrange(count) for _ in range(1000)]
        spans = Spans([Span(version, first, first + count - 1)])  # type: ignore[arg-type]
    table = Table(own=spans)
    sieve = Sieve(Filter())
    sieve.filter.set_table(0, table)
    make = address_of(version)
    edges = [first - 1, first, first + count - 1, first + count]
    for address in [*map(make, edges), *map(make, number.choices(ours, k=300))]:
        assert sieve.asks(address) is (table.find(address) is not None)
    sieve.close()


def test_every_form_of_block(sieve: Sieve) -> None:
    """Ranges, a bitmap and wide ranges, each with its neighbours."""
    first = int(IPv4Address("10.1.0.0"))
    spans = [Span(4, first + 10 * i, first + 10 * i + i % 9) for i in range(300)]
    spans += [Span(4, first + 65536 + 2 * i, first + 65536 + 2 * i) for i in range(5000)]
    spans += [Span.parse(f"10.{i}.0.0/16") for i in range(10, 90, 3)]
    first6 = int(IPv6Address("2001:db8::"))
    spans += [Span(6, first6 + 10 * i, first6 + 10 * i + i % 9) for i in range(300)]
    spans += [Span.parse(f"2001:db8:{i:x}::/64") for i in range(1, 999, 7)]
    table = Table(own=Spans(spans))
    sieve.filter.set_table(0, table)
    asked: set[IPv4Address | IPv6Address] = set()
    for version, low, high in spans[::11]:
        make = address_of(version)
        asked.update(make(edge) for edge in (low - 1, low, (low + high) // 2, high, high + 1))
    answered = {address for address in asked if sieve.asks(address)}
    assert answered == {address for address in asked if table.find(address) is not None}


def test_an_interface_without_a_table_is_open(sieve: Sieve) -> None:
    foreign = IPv4Address("203.0.113.9")
    assert not sieve.asks(foreign)
    sieve.filter.set_table(0, None)
    assert sieve.asks(foreign)
    sieve.filter.set_table(0, TABLE)
    assert not sieve.asks(foreign)
    sieve.filter.drop_link(0)
    assert sieve.asks(foreign)


def descriptors_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_interfaces_share_a_table_and_lose_it_one_by_one(sieve: Sieve) -> None:
    descriptors = descriptors_open()
    for ifindex in range(1000, 1040):
        sieve.filter.set_table(ifindex, TABLE)
    for _ in range(20):
        sieve.filter.set_table(0, Table(own=Spans.parse(OWN4)))
    assert descriptors_open() == descriptors, "the kernel alone holds tables"
    assert sieve.asks(IPv4Address(OWN4))
    for ifindex in range(1000, 1040):
        sieve.filter.drop_link(ifindex)
    assert descriptors_open() == descriptors
    assert sieve.filter.statistics().unfiltered == {}


@pytest.mark.parametrize("prepared", [0, 1, 2], ids=["unprepared", "prepared", "sometimes"])
def test_each_interface_is_judged_by_its_own_table_however_often_they_change_hands(sieve: Sieve, prepared: int) -> None:
    before = HIM4
    for last in range(1, 25):
        now = f"10.0.0.{last}"
        if prepared == 1 or (prepared and last % 5 == 0):
            sieve.filter.prepare()
        sieve.filter.set_table(1 + last % 3, Table(own=Spans.parse(before)))
        sieve.filter.set_table(0, Table(own=Spans.parse(now)))
        sieve.filter.set_table(1 + last % 2, TABLE)
        assert sieve.asks(IPv4Address(now))
        assert not sieve.asks(IPv4Address(before))
        before = now
    assert sieve.filter.statistics().unfiltered == {}


def test_a_table_waits_for_nobody_where_room_was_made_for_it(sieve: Sieve) -> None:
    descriptors = descriptors_open()
    waited = []
    for last in range(1, 9):
        sieve.filter.prepare()
        before = sieve.filter.waits
        sieve.filter.set_table(0, Table(own=Spans.parse(f"10.0.0.{last}")))
        waited.append(sieve.filter.waits - before)
        assert sieve.asks(IPv4Address(f"10.0.0.{last}"))
        assert not sieve.asks(IPv4Address(f"10.0.0.{last - 1}"))
    assert waited == [0] * 8
    for first, fits in ((0, False), (1, True)):
        sieve.filter.prepare()
        before = sieve.filter.waits
        values = range((10 << 24) + first, 11 << 24, 151)
        sieve.filter.set_table(0, Table(own=Spans(Span(4, value, value) for value in values)))
        assert (sieve.filter.waits == before) is fits
        assert [sieve.asks(IPv4Address(values[at] + off)) for at in (0, 5000) for off in (0, 1)] == [True, False] * 2
    assert descriptors_open() == descriptors


def test_more_interfaces_than_places(sieve: Sieve) -> None:
    for ifindex in range(1, 1024):
        sieve.filter.set_table(ifindex, TABLE)
    sieve.filter.set_table(5000, TABLE)
    assert sieve.filter.statistics().unfiltered == {5000: "expected at most 1024 filtered interfaces"}
    sieve.filter.drop_link(7)
    sieve.filter.set_table(5000, TABLE)
    assert sieve.filter.statistics().unfiltered == {}


def test_limit(sieve: Sieve) -> None:
    own = IPv4Address(OWN4)
    sieve.filter.set_limit(LIMIT)
    assert [sieve.asks(own) for _ in range(50)].count(True) == 5
    assert sieve.filter.statistics().limited == 45
    assert sieve.asks(own, OTHER)
    assert sieve.passes(4, Arp.reply(HIS, HIM4, OTHER, OWN4).encode()), "an answer is not a question"
    assert sieve.passes(4, Arp.reply(HIS, OWN4, OTHER, HIM4).encode()), "nor is a claim"
    sieve.filter.set_limit(None)
    assert all(sieve.asks(own) for _ in range(50))


def test_limit_in_all_keeps_half_for_those_we_know(sieve: Sieve) -> None:
    own = IPv4Address(OWN4)
    sieve.filter.set_limit(RateLimit(per_mac_per_s=1_000_000, burst=1_000_000, total_per_s=100))
    assert sieve.asks(own, OTHER)
    strangers = [sieve.asks(own, bytes([2, 1, 1, 1, 1, i])) for i in range(200)]
    assert 3 <= strangers.count(True) < 100
    assert sieve.asks(own, OTHER)


def test_members_are_never_too_many(sieve: Sieve) -> None:
    own = IPv4Address(OWN4)
    sieve.filter.set_limit(LIMIT)
    sieve.filter.set_members(frozenset({HIS}))
    assert all(sieve.asks(own) for _ in range(50))
    assert [sieve.asks(own, OTHER) for _ in range(50)].count(True) == 5
    sieve.filter.set_members(frozenset({OTHER}))
    assert [sieve.asks(own) for _ in range(50)].count(True) == 5
    assert all(sieve.asks(own, OTHER) for _ in range(50))


# Privileges


def with_capabilities(names: str, program: str) -> dict[str, object]:
    """What a Python program prints as JSON that has these capabilities of root's and no other."""
    done = subprocess.run(
        ["setpriv", "--inh-caps=-all", f"--bounding-set=-all,{names}", sys.executable, "-P", "-c", program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "libbpf keeps quiet"
    told: dict[str, object] = json.loads(done.stdout)
    return told


LOAD = """
import json
from arpfast.answer import Table
from arpfast.bpf.programs import Filter
from arpfast.spans import Spans
try:
    filter = Filter(answers=True)
except OSError as error:
    print(json.dumps({"errno": error.errno, "text": str(error)}))
else:
    filter.set_table(0, Table(own=Spans.parse("192.0.2.1")))
    told = {"guard": filter.guard_program() >= 0, "unfiltered": filter.statistics().unfiltered}
    told["answers"] = all(filter.answer_program(xdp) >= 0 for xdp in (True, False))
    print(json.dumps(told))
"""


@pytest.mark.parametrize(("names", "guard"), [("+bpf", False), ("+bpf,+net_raw", False), ("+bpf,+net_admin", True)])
def test_loads_without_perfmon(names: str, *, guard: bool) -> None:
    assert with_capabilities(names, LOAD) == {"guard": guard, "answers": guard, "unfiltered": {}}


def test_says_why_it_cannot_load() -> None:
    told = with_capabilities("+net_raw,+net_admin", LOAD)
    assert told["errno"] == 1
    assert "load the eBPF socket filter (needs CAP_BPF): Operation not permitted" in str(told["text"])


DROP = """
import json, socket, ctypes
from arpfast.answer import Table
from arpfast.bpf.programs import Filter
from arpfast.spans import Spans
filter = Filter()
filter.set_table(0, Table(own=Spans.parse("192.0.2.1")))
none = (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), none) == 0
filter.set_table(0, Table(own=Spans.parse("192.0.2.2")))
told = filter.statistics().unfiltered
filter.drop_link(0)
print(json.dumps({"told": told["0" if "0" in told else 0], "after": len(filter.statistics().unfiltered)}))
"""


def test_without_privileges_a_new_table_opens_the_interface() -> None:
    told = with_capabilities("+bpf", DROP)
    assert "needs CAP_BPF" in str(told["told"])
    assert told["after"] == 0
