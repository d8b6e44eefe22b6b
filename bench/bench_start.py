"""From starting the command to its first answer, the memory that it then holds, and what it does when nobody asks.

The clock begins when the process is spawned; its first address is asked for every millisecond. Idle: how often any of
its threads woke in five seconds, with 1 000 addresses of each family, announced once and with no refresh.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.answerers import spawn_arpfast
from bench.stage import Pool, staged

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger
    from lab import Process

V4, V6 = Pool("10.1.0.1", 1000), Pool("2001:db8::1:0", 1000)
SETTINGS = "announce: {probe: off, refresh: off, repeat: 1}"
IDLE_S = 5.0


def test_start(ledger: Ledger, rounds: Rounds) -> None:
    for _ in rounds(("arpfast",), str):
        with staged() as stage:
            began_s = time.monotonic()
            process = spawn_arpfast(stage, V4, V6, settings=SETTINGS)
            stage.wait_answered(V4.first, every_ms=1)
            ledger.add("first answer", "arpfast", time.monotonic() - began_s, "s")
            _wait_quiet(process)
            ledger.add("resident memory", "arpfast", process.rss_bytes() / 2**20, "MiB")
            before = process.wakeups()
            time.sleep(IDLE_S)
            ledger.add(f"wake-ups in {IDLE_S:g} s of idleness", "arpfast", process.wakeups() - before, "")
    ledger.judge("first answer", "arpfast", ledger.of("first answer", "arpfast").values, "s", at_most=0.5)
    ledger.judge("resident memory", "arpfast", ledger.of("resident memory", "arpfast").values, "MiB", at_most=40)
    wakeups = ledger.of(f"wake-ups in {IDLE_S:g} s of idleness", "arpfast")
    ledger.judge("idle wake-ups", "arpfast", wakeups.values, "", at_most=0)


def _wait_quiet(process: Process, for_s: float = 1.0) -> None:
    """Wait until it has done what starting entails: until it sleeps for a second, or ten have passed."""
    give_up_s = time.monotonic() + 10
    seen, since_s = process.wakeups(), time.monotonic()
    while time.monotonic() < min(since_s + for_s, give_up_s):
        time.sleep(0.1)
        if (now := process.wakeups()) != seen:
            seen, since_s = now, time.monotonic()
