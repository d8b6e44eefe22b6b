"""How long it takes to replace a table of 100 000 addresses, and whether a request is missed meanwhile.

In the engine: from the set of addresses to a new table that the thread has taken up, the old one freed. By the command:
from `reload`, asked on the control socket, of a file whose one range of 100 000 has become another, to the first answer
for the new one. Both while 10 000 requests a second are asked for addresses that stay.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from arpfast.answer import Table
from arpfast.control import Client, Request
from arpfast.responder import Responder
from arpfast.spans import Span, Spans
from bench.answerers import Arpfast, settings_file
from bench.stage import GENERATOR, Pool, Stage, staged
from lab.generator import Flood, Flooded

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.conftest import Rounds
    from bench.ledger import Ledger

STAYING = Pool.of("10.1.0.0/22")
COUNT = 100_000
BASES = ("10.64.0.0", "10.128.0.0")
RATE_PER_S = 10_000
REPLACEMENTS = 10


def test_replace(ledger: Ledger, rounds: Rounds) -> None:
    cases: dict[str, Callable[[], tuple[list[float], Flooded]]] = {
        "engine, one range": lambda: _engine(1),
        "engine, each address on its own": lambda: _engine(2),
        "command, one range": _command,
    }
    for case in rounds(tuple(cases), str):
        took_ms, flooded = cases[case]()
        ledger.add(case, "longest", max(took_ms), "ms")
        ledger.add(case, "median", sorted(took_ms)[len(took_ms) // 2], "ms")
        ledger.add(f"{case}, missed of {RATE_PER_S:,}/s", "arpfast", flooded.offered - flooded.replies, "requests")
    for case in cases:
        if case.startswith("engine"):
            ledger.judge(case, "longest", ledger.of(case, "longest").values, "ms", at_most=50)
        missed = ledger.of(f"{case}, missed of {RATE_PER_S:,}/s", "arpfast")
        ledger.judge(case, "missed requests", [max(missed.values)], "requests", at_most=0)


def _engine(stride: int) -> tuple[list[float], Flooded]:
    """Replace between two sets that have nothing in common but what stays."""
    wanted = []
    for base in BASES:
        first = Span.parse(base).first
        singles = [Span(4, at, at) for at in range(first, first + COUNT * stride, stride)]
        wanted.append(Spans([Span.parse(STAYING.addresses), *singles]))
    with staged() as stage, Responder() as responder:
        index, name, mac = stage.far.index, stage.far.name, bytes(stage.far.mac)

        def replace(turn: int) -> None:
            responder.set_link(
                index, name, mac, router=False, link_local=None, kin=(), nonce=bytes(6),
                table=Table(own=wanted[turn % 2]),
            )  # fmt: skip

        stage.far.host.call(replace, 0)
        responder.start()
        stage.wait_answered(STAYING.first)
        return _under_load(stage, replace)


def _command() -> tuple[list[float], Flooded]:
    pools = [(STAYING, Pool(base, COUNT)) for base in BASES]
    with staged() as stage, Arpfast().on(stage, STAYING):

        def replace(turn: int) -> None:
            settings_file(stage, *pools[turn % 2])
            with Client(str(stage.lab.directory / "control.sock")) as client:
                client.ask(Request("reload"))
            stage.wait_answered(BASES[turn % 2], every_ms=1)

        replace(0)
        return _under_load(stage, replace)


def _under_load(stage: Stage, replace: Callable[[int], None]) -> tuple[list[float], Flooded]:
    """Milliseconds of each replacement, and the flood meanwhile."""
    flood = Flood.start(stage.near, STAYING.first, STAYING.count, rate_per_s=RATE_PER_S, seconds=60, cpus={GENERATOR})
    took_ms = []
    for turn in range(1, REPLACEMENTS + 1):
        began_s = time.perf_counter()
        replace(turn)
        took_ms.append(1e3 * (time.perf_counter() - began_s))
    return took_ms, flood.stop()
