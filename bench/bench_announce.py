"""How long 1 000 new addresses take to be announced: from the first announcement to the last first one of an address.

At the default pace of 20 000 frames a second that is 50 ms, by the time stamps of the asker's kernel. The announcements
begin when `arpfast` starts; how soon that is tells `bench_start.py`.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from bench.answerers import LOUD, spawn_arpfast
from bench.stage import Pool, staged
from lab import Advertisement, Arp

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger
    from lab import Captured

POOLS = {"ARP": Pool("10.1.0.1", 1000), "ND": Pool("2001:db8::1:0", 1000)}


def test_announce(ledger: Ledger, rounds: Rounds) -> None:
    for family in rounds(tuple(POOLS), str):
        pool = POOLS[family]
        first = int(ip_address(pool.first))
        wanted = range(first, first + pool.count)
        with staged() as stage, stage.near.host.capture(stage.near) as capture:
            spawn_arpfast(stage, pool, settings=LOUD)
            capture.wait_for(lambda frame: _announced(frame) in wanted, count=pool.count, deadline_s=10)  # noqa: B023
            # Repeats come a second later at the earliest: every one of these is a first.
            frames = [frame for frame in capture.frames() if _announced(frame) in wanted][: pool.count]
        assert len({_announced(frame) for frame in frames}) == pool.count
        ledger.add(family, "arpfast", (frames[-1].time_ns - frames[0].time_ns) / 1e6, "ms")
    for family in POOLS:
        ledger.judge(family, "1 000 addresses", ledger.of(family, "arpfast").values, "ms", at_most=60)


def _announced(frame: Captured) -> int | None:
    """The address that the frame announces."""
    told = frame.decoded
    if isinstance(told, Arp) and told.spa == told.tpa:
        return int(told.spa)
    if isinstance(told, Advertisement) and not told.solicited:
        return int(told.target)
    return None
