"""The parts that the responder's thread is made of, on their own: what is bounded, and by how much."""

import ctypes
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from lab.waiting import wait_readable

SECOND_NS = 1_000_000_000
CONFLICT, TAKEN, CONFIRMED = range(3)
RIVAL = 5


class Facts:
    """One ring of facts, and who fills and empties it."""

    def __init__(self, parts: ctypes.CDLL) -> None:
        self.parts = parts
        self.at = ctypes.c_void_p(parts.parts_facts())

    def heard(self, now_ns: int, kind: int = CONFLICT, address: int = 1, mac: int = 1) -> None:
        self.parts.parts_heard(self.at, ctypes.c_uint64(now_ns), kind, ctypes.c_uint32(address), ctypes.c_uint32(mac))

    def told(self) -> int:
        return int(self.parts.parts_take_all(self.at))

    @property
    def lost(self) -> int:
        return int(self.parts.parts_lost(self.at))


@pytest.fixture
def facts(parts: ctypes.CDLL) -> Iterator[Facts]:
    facts = Facts(parts)
    yield facts
    parts.parts_facts_free(facts.at)


def test_the_same_fact_is_told_once_a_second(facts: Facts) -> None:
    for now_ns in range(SECOND_NS, 4 * SECOND_NS, SECOND_NS // 100):
        facts.heard(now_ns)
    assert facts.told() == 3
    assert facts.lost == 0


def test_every_probe_that_is_answered_is_told_to_be(facts: Facts) -> None:
    """Also when the same address was found taken a moment ago."""
    for now_ns in range(SECOND_NS, 2 * SECOND_NS, SECOND_NS // 10):
        for repeated in range(10):
            facts.heard(now_ns + repeated, TAKEN)
    assert facts.told() == 10


def test_a_whole_pool_that_somebody_has_is_told_at_the_pace_of_the_probes(facts: Facts) -> None:
    for number in range(12_000):
        facts.heard(SECOND_NS + number * 50_000, TAKEN, address=number % 4000)
        if number % 500 == 0:
            facts.told()
    assert facts.lost == 0


def test_a_fact_that_was_refused_is_told_when_it_is_said_again(facts: Facts) -> None:
    for number in range(2000):
        facts.heard(SECOND_NS, TAKEN, address=number)
    assert facts.told() == 1536
    assert facts.lost == 2000 - 1536
    facts.heard(SECOND_NS + SECOND_NS // 100, TAKEN, address=1999)
    assert facts.told() == 1


def test_another_mac_is_another_fact_but_only_so_many_for_one_address(facts: Facts) -> None:
    for mac in range(1000):
        facts.heard(SECOND_NS + mac, mac=mac)
    assert facts.told() == 4
    assert facts.lost == 0


def test_kinds_and_addresses_are_told_apart(facts: Facts) -> None:
    for kind in (CONFLICT, TAKEN, CONFIRMED):
        for address in range(50):
            facts.heard(SECOND_NS, kind, address)
    assert facts.told() == 150


def test_a_flood_over_many_addresses_is_held_to_its_rate_and_counted(facts: Facts) -> None:
    told = 0
    for number in range(20_000):
        facts.heard(SECOND_NS + number * 100_000, address=number)
        if number % 500 == 0:
            told += facts.told()
    told += facts.told()
    assert 512 + 1900 <= told <= 512 + 2001
    assert told + facts.lost == 20_000


@pytest.mark.parametrize("kind", [CONFIRMED, RIVAL])
def test_questions_about_a_whole_pool_may_be_confirmed_and_all_of_it_announced_at_once(facts: Facts, kind: int) -> None:
    for number in range(4000):
        facts.heard(SECOND_NS + number * 50_000, kind, address=number)
        if number % 500 == 0:
            facts.told()
    assert facts.lost == 0


def test_a_python_that_never_looks_loses_facts_but_never_the_ones_no_frame_causes(
    facts: Facts, parts: ctypes.CDLL
) -> None:
    for number in range(10_000):
        facts.heard(SECOND_NS + number * 1_000_000, address=number)
    assert facts.lost == 10_000 - (4096 - 64)
    assert parts.parts_put(facts.at) == 1
    assert facts.told() == 4096 - 64 + 1


def test_python_is_woken_once_for_many_facts_and_again_for_later_ones(facts: Facts, parts: ctypes.CDLL) -> None:
    wake = parts.parts_wake(facts.at)
    assert not wait_readable(wake, 0)
    for address in range(10):
        facts.heard(SECOND_NS, address=address)
        parts.parts_tell(facts.at)
    assert wait_readable(wake, 0)
    assert facts.told() == 10
    assert not wait_readable(wake, 0)
    parts.parts_tell(facts.at)
    assert not wait_readable(wake, 0)
    facts.heard(SECOND_NS, address=99)
    parts.parts_tell(facts.at)
    assert wait_readable(wake, 0)


def packed(address: str) -> bytes:
    return (IPv6Address(address) if ":" in address else IPv4Address(address)).packed.ljust(16, b"\0")


def test_who_asked_is_remembered_for_a_whole_pool(parts: ctypes.CDLL) -> None:
    asked = ctypes.c_void_p(parts.parts_asked())
    pool = [packed(f"10.0.{number >> 8}.{number & 255}") for number in range(4096)]
    for now_ns, address in enumerate(pool, 1):
        parts.parts_note(asked, 4, address, ctypes.c_uint64(now_ns))
    assert [parts.parts_find(asked, 4, address) for address in pool] == list(range(1, 4097))
    assert parts.parts_find(asked, 6, pool[0]) == 0
    assert parts.parts_find(asked, 4, packed("10.0.16.0")) == 0


def test_families_and_prefixes_do_not_get_mixed_up(parts: ctypes.CDLL) -> None:
    asked = ctypes.c_void_p(parts.parts_asked())
    parts.parts_note(asked, 6, packed("2001:db8::a00:1"), ctypes.c_uint64(7))
    assert parts.parts_find(asked, 6, packed("2001:db8::a00:1")) == 7
    assert parts.parts_find(asked, 6, packed("2001:db8:1::a00:1")) == 0
    assert parts.parts_find(asked, 4, packed("10.0.0.1")) == 0


def askers_of(parts: ctypes.CDLL, askers: ctypes.c_void_p) -> dict[bytes, int]:
    """Each remembered MAC with when it asked."""
    found = {}
    for place in range(1024):
        mac = ctypes.create_string_buffer(6)
        if now_ns := parts.parts_asker(askers, place, mac):
            found[mac.raw] = int(now_ns)
    return found


def test_who_asks_lately_is_remembered_by_who_it_is(parts: ctypes.CDLL) -> None:
    """A hundred hosts that ask for one address: most of them, and the latest of those that share a place."""
    askers = ctypes.c_void_p(parts.parts_askers())
    macs = [b"\x02\0\0\0\0" + bytes([number]) for number in range(100)]
    for number, mac in enumerate(macs):
        parts.parts_note_asker(askers, mac, packed(f"10.0.0.{number}"), ctypes.c_uint64(SECOND_NS + number))
    found = askers_of(parts, askers)
    assert len(found) >= 85
    assert all(found[mac] == SECOND_NS + macs.index(mac) for mac in found)
    assert macs[-1] in found


def test_an_asker_is_noted_once_a_second(parts: ctypes.CDLL) -> None:
    askers, mac = ctypes.c_void_p(parts.parts_askers()), b"\x02\0\0\0\0\1"
    for now_ns in (5 * SECOND_NS, 6 * SECOND_NS - 1):
        parts.parts_note_asker(askers, mac, packed("10.0.0.1"), ctypes.c_uint64(now_ns))
        assert askers_of(parts, askers) == {mac: 5 * SECOND_NS}
    parts.parts_note_asker(askers, mac, packed("10.0.0.1"), ctypes.c_uint64(6 * SECOND_NS))
    assert askers_of(parts, askers) == {mac: 6 * SECOND_NS}


@pytest.mark.parametrize("rate_per_s", [1, 10, 999, 20_000, 300_000])
@pytest.mark.parametrize("look_ns", [10_000, 100_000, 1_000_000])
def test_the_pace_is_kept_and_never_exceeded(parts: ctypes.CDLL, rate_per_s: int, look_ns: int) -> None:
    start_ns, seconds = 5 * SECOND_NS, 3
    sent = parts.parts_pace(
        rate_per_s, ctypes.c_uint64(start_ns), ctypes.c_uint64(start_ns + seconds * SECOND_NS), ctypes.c_uint64(look_ns)
    )
    at_most = min(rate_per_s * seconds + 1, 64 * (seconds * SECOND_NS // look_ns + 1))
    assert 0.99 * at_most - 1 <= sent <= at_most * 1.001


def test_the_first_frame_is_due_at_once_and_alone(parts: ctypes.CDLL) -> None:
    now_ns = ctypes.c_uint64(9 * SECOND_NS)
    assert parts.parts_pace(20_000, now_ns, now_ns, ctypes.c_uint64(1)) == 1


def test_a_late_wake_up_catches_up_with_a_little_only(parts: ctypes.CDLL) -> None:
    """Looked at again after a whole second: 5 ms worth at most, in slices."""
    now_ns = 9 * SECOND_NS
    sent = parts.parts_pace(
        1000, ctypes.c_uint64(now_ns), ctypes.c_uint64(now_ns + SECOND_NS), ctypes.c_uint64(SECOND_NS)
    )
    assert sent == 1 + 7


def test_a_fast_pace_sleeps_a_millisecond_and_a_slow_one_until_it_is_due(parts: ctypes.CDLL) -> None:
    assert parts.parts_sleep_ns(20_000) == 1_000_000
    assert parts.parts_sleep_ns(10) == 100_000_000
