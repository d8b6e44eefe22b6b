"""What a watch takes for silence, and above all what it does not. Time is the test's; intervals are 20 ms."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import pytest

from tests.arpfast.scene import OWN4, OWN6
from tests.arpfast.wire import BROADCAST, HIS_MAC, KIN_MAC, OUR_MAC, arp, ip, na, ns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MS = 1_000_000
INTERVAL_MS = 20
NOTHING, SILENT, SUSPENDED, RESUMED = range(4)
US6 = "fe80::ff:1"


class Watch:
    """One watch, its clock in ms, and what became of its questions."""

    def __init__(self, parts: ctypes.CDLL, address: str = OWN4) -> None:
        self.parts = parts
        self.at = ctypes.c_void_p(
            parts.parts_watch(
                6 if ":" in address else 4, ip(address).ljust(16, b"\0"), HIS_MAC, ctypes.c_uint64(INTERVAL_MS * MS)
            )
        )
        self.now_ms = 1000.0

    def _now(self) -> ctypes.c_uint64:
        return ctypes.c_uint64(round(self.now_ms * MS))

    def tick(
        self, *, flooded: bool = False, sent: bool = True, after_ms: float = INTERVAL_MS, out_ms: float = 0
    ) -> int:
        """Let an interval pass, look, and ask; the question is out `out_ms` after the look."""
        self.now_ms += after_ms
        news = int(self.parts.parts_tick(self.at, self._now(), flooded))
        self.now_ms += out_ms
        self.parts.parts_ask(self.at, self._now(), sent)
        return news

    def answer(self) -> bool:
        return bool(self.parts.parts_answered(self.at, self._now()))

    def sees_flood(self, frames: int, drops: int, after_ms: float = INTERVAL_MS) -> bool:
        self.now_ms += after_ms
        return bool(self.parts.parts_flooded(self.at, self._now(), ctypes.c_uint64(frames), ctypes.c_uint64(drops)))

    @property
    def due_ms(self) -> float:
        return float(self.parts.parts_due_ns(self.at)) / MS

    def question(self, *, with_link_local: bool = True) -> bytes:
        frame = ctypes.create_string_buffer(86)
        length = int(self.parts.parts_question(self.at, frame, with_link_local))
        return frame.raw[:length]

    def takes(self, frame: bytes) -> bool:
        return bool(self.parts.parts_is_answer(self.at, frame, len(frame)))


@pytest.fixture
def make(parts: ctypes.CDLL) -> Iterator[Callable[[str], Watch]]:
    made: list[Watch] = []

    def make(address: str) -> Watch:
        made.append(Watch(parts, address))
        return made[-1]

    yield make
    for watch in made:
        parts.parts_watch_free(watch.at)


@pytest.fixture
def watch(make: Callable[[str], Watch]) -> Watch:
    """One that has just asked for the first time."""
    watch = make(OWN4)
    assert watch.tick() == NOTHING
    return watch


def test_who_answers_each_time_is_never_silent(watch: Watch) -> None:
    for _ in range(1000):
        assert not watch.answer()
        assert watch.tick() == NOTHING


def test_three_intervals_without_an_answer_are_silence_and_told_once(watch: Watch) -> None:
    assert [watch.tick() for _ in range(10)] == [NOTHING, NOTHING, SILENT] + [NOTHING] * 7


def test_one_answer_among_them_begins_the_count_anew(watch: Watch) -> None:
    for _ in range(20):
        assert [watch.tick(), watch.tick()] == [NOTHING, NOTHING]
        watch.answer()
        assert watch.tick() == NOTHING


def test_an_answer_ends_the_silence_and_the_next_silence_is_told_again(watch: Watch) -> None:
    assert [watch.tick() for _ in range(4)][2] == SILENT
    assert watch.answer()
    assert not watch.answer()
    assert [watch.tick() for _ in range(4)] == [NOTHING, NOTHING, NOTHING, SILENT]


def test_who_looks_late_accuses_nobody(watch: Watch) -> None:
    """By more than an interval: then it is us who slept, and all that was missed before is forgotten."""
    assert [watch.tick(), watch.tick()] == [NOTHING, NOTHING]
    assert watch.tick(after_ms=2 * INTERVAL_MS + 1) == NOTHING
    assert [watch.tick() for _ in range(3)] == [NOTHING, NOTHING, SILENT]


def test_a_late_look_counts_for_one_interval(watch: Watch) -> None:
    assert [watch.tick(after_ms=1.9 * INTERVAL_MS) for _ in range(3)] == [NOTHING, NOTHING, SILENT]


def test_who_is_held_up_before_asking_waits_a_whole_interval_for_the_answer(watch: Watch) -> None:
    watch.tick(out_ms=50)
    assert watch.due_ms == watch.now_ms + INTERVAL_MS


def test_a_question_that_could_not_be_sent_proves_nothing(watch: Watch) -> None:
    """As when it is our own cable that was pulled out."""
    assert [watch.tick(sent=False) for _ in range(20)] == [NOTHING] * 20
    watch.tick()
    assert [watch.tick() for _ in range(3)] == [NOTHING, NOTHING, SILENT]


def test_a_flood_suspends_and_as_many_calm_intervals_as_make_silence_resume(watch: Watch) -> None:
    assert [watch.tick(), watch.tick()] == [NOTHING, NOTHING]
    assert watch.tick(flooded=True) == SUSPENDED
    assert [watch.tick(flooded=True) for _ in range(50)] == [NOTHING] * 50
    assert [watch.tick(), watch.tick()] == [NOTHING, NOTHING]
    assert watch.tick(flooded=True) == NOTHING
    assert [watch.tick() for _ in range(3)] == [NOTHING, NOTHING, RESUMED]
    assert [watch.tick() for _ in range(3)] == [NOTHING, NOTHING, SILENT]


def test_an_answer_while_suspended_is_an_answer(watch: Watch) -> None:
    assert [watch.tick() for _ in range(3)][2] == SILENT
    assert watch.tick(flooded=True) == SUSPENDED
    assert watch.answer()


def test_frames_that_were_lost_are_a_flood_whatever_their_number(watch: Watch) -> None:
    assert not watch.sees_flood(1000, 7), "what was before is not looked at"
    assert not watch.sees_flood(1001, 7)
    assert watch.sees_flood(1002, 8)
    assert not watch.sees_flood(1003, 8)


def test_many_frames_are_a_flood_but_a_whole_pool_announced_is_none(watch: Watch) -> None:
    assert not watch.sees_flood(0, 0)
    assert not watch.sees_flood(1400, 0)
    assert watch.sees_flood(1400 + 1600, 0)
    assert not watch.sees_flood(3000 + 1400, 0)
    assert not watch.sees_flood(4400 + 50_000, 0, after_ms=1000)


# On the wire


def test_the_questions(make: Callable[[str], Watch]) -> None:
    """An ARP probe (RFC 5227) and a solicitation as of NUD (RFC 4861 section 7.3.3), to the owner alone."""
    assert make(OWN4).question() == arp("0.0.0.0", OWN4, sha=OUR_MAC, to=HIS_MAC)
    assert make(OWN6).question() == ns(US6, OWN6, slla=OUR_MAC, mac=OUR_MAC, to=HIS_MAC, destination=ip(OWN6))
    assert make(OWN6).question(with_link_local=False) == b"", "there is no address to ask from"
    assert make(OWN4).question(with_link_local=False)


def test_the_answers(make: Callable[[str], Watch]) -> None:
    four, six = make(OWN4), make(OWN6)
    good4 = arp(OWN4, "0.0.0.0", op=2, sha=HIS_MAC, tha=OUR_MAC, to=OUR_MAC)
    good6 = na(OWN6, US6, OWN6, tlla=HIS_MAC, mac=HIS_MAC)
    assert four.takes(good4)
    assert four.takes(good4[:42])
    assert six.takes(good6)
    assert six.takes(na(OWN6, US6, OWN6, tlla=None, mac=HIS_MAC))
    assert not four.takes(good6)
    assert not six.takes(good4)
    for length in range(42):
        assert not four.takes(good4[:length])
    for length in range(86):
        assert not six.takes(good6[:length])


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(arp(OWN4, "0.0.0.0", op=2, sha=KIN_MAC, tha=OUR_MAC, to=OUR_MAC), id="from another"),
        pytest.param(arp(OWN4, "0.0.0.0", op=2, sha=KIN_MAC, source=HIS_MAC, tha=OUR_MAC, to=OUR_MAC), id="of another"),
        pytest.param(arp(OWN4, "0.0.0.0", op=2, source=KIN_MAC, tha=OUR_MAC, to=OUR_MAC), id="sent on by another"),
        pytest.param(arp("192.0.2.11", "0.0.0.0", op=2, tha=OUR_MAC, to=OUR_MAC), id="for another address"),
        pytest.param(arp(OWN4, "192.0.2.1", op=2, tha=OUR_MAC, to=OUR_MAC), id="to what we did not ask"),
        pytest.param(arp(OWN4, "0.0.0.0", op=2, tha=KIN_MAC, to=OUR_MAC), id="to another's hardware address"),
        pytest.param(arp(OWN4, "0.0.0.0", op=2, tha=OUR_MAC, to=BROADCAST), id="to all"),
        pytest.param(arp(OWN4, "0.0.0.0", op=1, tha=OUR_MAC, to=OUR_MAC), id="a question"),
        pytest.param(na(OWN6, US6, OWN6, mac=KIN_MAC), id="advertised by another"),
        pytest.param(na(OWN6, US6, "2001:db8::11"), id="advertised another address"),
        pytest.param(na(OWN6, "fe80::77", OWN6), id="advertised to another"),
        pytest.param(na(OWN6, US6, OWN6, flags=0x20), id="not solicited"),
        pytest.param(na(OWN6, US6, OWN6, hop_limit=254), id="through a router"),
        pytest.param(na(OWN6, US6, OWN6, checksum=0x1234), id="with a wrong checksum"),
        pytest.param(na(OWN6, "ff02::1", OWN6), id="advertised to all"),
    ],
)  # fmt: skip
def test_what_is_no_answer(make: Callable[[str], Watch], frame: bytes) -> None:
    assert not make(OWN4).takes(frame)
    assert not make(OWN6).takes(frame)
