"""Another who writes over what we wrote: when that is put right. In virtual time."""

from __future__ import annotations

from controller.contending import AT_ONCE, CALM_S, LEAST_S, MOST_S, Contending
from tests.controller.cluster import service

OURS, HIS = service("web", has=("192.0.2.0",), of="a"), service("web", has=("172.16.0.9",), of="his")
FIRST = [0.0] * AT_ONCE


def waits(contending: Contending, rounds: int, now_s: float = 0.0, every_s: float = 0.01) -> list[float]:
    """How long it takes each time until what he wrote, so soon after us, is put right."""
    waited = []
    for _ in range(rounds):
        contending.wrote(OURS, now_s)
        now_s += every_s
        held = contending.holds(HIS, now_s)
        assert held == contending.holds(HIS, now_s), "expected the same of the same"
        due_s = contending.due_s
        assert held == (due_s is not None)
        waited.append(0.0 if due_s is None else round(due_s - now_s, 6))
        if due_s is not None:
            assert contending.overdue(due_s - 0.001) == []
            assert contending.overdue(due_s) == [OURS.key]
            assert contending.due_s is None
            now_s = due_s
            assert not contending.holds(HIS, now_s)
    return waited


def test_at_once_at_first_and_then_ever_later() -> None:
    contending = Contending()
    found = waits(contending, 12)
    assert found == [*FIRST, *(min(MOST_S, LEAST_S * 2**each) for each in range(12 - AT_ONCE))]
    assert contending.overwritten == 12


def test_what_stood_for_a_while_is_no_contention() -> None:
    contending = Contending()
    assert waits(contending, 20, every_s=CALM_S + 1) == [0.0] * 20
    assert waits(contending, AT_ONCE + 1, 2000.0)[-1] == LEAST_S
    contending.wrote(OURS, 3000.0)
    assert waits(contending, AT_ONCE, 3000.0) == FIRST, "expected what was long ago to be forgotten"


def test_who_asks_for_something_else_is_heard_at_once() -> None:
    contending = Contending()
    waits(contending, AT_ONCE)
    contending.wrote(OURS, 1.0)
    assert contending.holds(HIS, 1.0)
    assert not contending.holds(service("web", ips="192.0.2.3", has=("172.16.0.9",), of="his"), 1.0)
    assert contending.due_s is None


def test_what_we_decide_otherwise_is_no_contention() -> None:
    """Nor is a write that another was faster than, nor a status that went with the type."""
    contending = Contending()
    for now_s in range(20):
        contending.wrote(OURS, float(now_s))
        assert not contending.holds(OURS, float(now_s)), "expected a change of the pools to be written"
        assert not contending.holds(service("web", type="ClusterIP"), float(now_s))
    assert not contending.holds(service("other"), 30.0)
    assert contending.overwritten == 0


def test_nothing_is_remembered_of_who_is_gone_or_calm() -> None:
    contending = Contending()
    waits(contending, AT_ONCE)
    contending.wrote(OURS, 1.0)
    assert contending.holds(HIS, 1.0)
    contending.forget(OURS.key)
    assert contending.due_s is None
    contending.wrote(OURS, 2.0)
    contending.wrote(service("other"), 2.0 + CALM_S + 1)
    assert not contending.holds(HIS, 2.0 + CALM_S + 1)
    assert contending.overwritten == AT_ONCE + 1
