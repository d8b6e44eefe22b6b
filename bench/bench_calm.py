"""How often a member that lives is taken over from, while both cores of the machine are kept busy by others.

A ring of three hosts with twenty addresses, and two processes that never sleep. Counted is who fell silent, who was
taken over from, and who found that it had stood still; `SECONDS` says for how long.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from bench.contenders import Arpfast
from lab import Lab, wait_until
from lab.ring import Ring, pool

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger
    from lab.member import Member

ADDRESSES = pool(20)
BUSY = (sys.executable, "-c", "while True: pass")
CASES = {
    "silent on the wire": ("silent on the wire",),
    "taken over from": ("took over", "inherited"),
    "stood still": ("stood aside",),
}


def test_calm(ledger: Ledger, rounds: Rounds, seconds: float) -> None:
    for profile in rounds(("default", "fast"), str):
        contender = Arpfast(profile)
        with Lab() as lab:
            ring = Ring(lab, addresses=ADDRESSES)
            members = list(contender.join(ring).values())
            wait_until(partial(_at_rest, members), 60, what="the ring to be at rest", every_ms=50)
            busy = lab.host("busy")
            for core in (0, 1):
                busy.spawn(BUSY, cpus=[core])
            before = {case: _count(members, events) for case, events in CASES.items()}
            time.sleep(seconds)
            for case, events in CASES.items():
                told = _count(members, events) - before[case]
                ledger.add(f"{case}, in {seconds:g} s", contender.name, told, "times")
    for who in ("arpfast", "arpfast fast"):
        case = f"taken over from, in {seconds:g} s"
        ledger.judge(case, who, ledger.of(case, who).values, "times", at_most=0)


def _at_rest(members: list[Member]) -> bool:
    views = [member.view() for member in members]
    held = [{name: (seen["owned"], seen["holding"]) for name, seen in view.items()} for view in views]
    at_rest = all(one == held[0] for one in held) and len(held[0]) == len(members)
    return at_rest and all(owned and not holding for owned, holding in held[0].values())


def _count(members: list[Member], events: tuple[str, ...]) -> int:
    return sum(len(member.events(event)) for member in members for event in events)
