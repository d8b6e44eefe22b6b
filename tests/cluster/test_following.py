"""When what changed is told, in virtual time; the watches themselves are told of in `tests/real`."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from cluster import kinds
from cluster.following import AT_ONCE, ATTEMPTS, BGP, BURST_S, CONTROLLER, Following, Pace
from cluster.resources import Key, Service
from cluster.watching import Changed, Watching
from cluster.world import Change, World
from tests.arpfast.virtual import passing, virtually
from tests.cluster.configuring import peer, pool, secret
from tests.cluster.test_errands import Quiet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.client import Client

WEB = Key("shop", "web")


class Told:
    """What `wake` was called with, and when."""

    def __init__(self, *, pools: bool = True, complete: bool = True, besides: Iterable[kinds.Kind[Any]] = ()) -> None:
        self.changes: list[Change] = []
        self.times: list[float] = []
        self.reports: list[int] = []
        self.following = Following(
            cast("Client", None),
            CONTROLLER,
            namespace="metallb-system",
            wake=self._wake,
            log=Quiet(),
            report=lambda problems: self.reports.append(len(problems)),
            besides=besides,
        )
        for kind in CONTROLLER:
            self.following.watchings[kind].complete = complete
        if pools:
            self.pool("192.0.2.0/24")

    def _wake(self, world: World, change: Change) -> None:
        assert world is self.following.world
        self.changes.append(change)
        self.times.append(asyncio.get_running_loop().time())

    def change(self, kind: kinds.Kind[Any], key: Key, after: Any) -> None:
        self.following._changed(kind)([Changed(key, None, after)])

    def service(self, name: str = "web") -> None:
        one = msgspec.convert({"metadata": {"namespace": "shop", "name": name}}, Service)
        self.change(kinds.SERVICE, one.key, one)

    def complete(self, *of: kinds.Kind[Any]) -> None:
        for kind in of:
            self.following.watchings[kind].complete = True
            self.following._changed(kind)([])

    def pool(self, addresses: str) -> None:
        one = pool("main", addresses)
        self.change(kinds.ADDRESS_POOL, one.key, one)


def test_the_first_thing_told_is_everything() -> None:
    async def main() -> None:
        told = Told()
        told.service()
        await passing(1)
        assert told.changes == [Change(frozenset({WEB}), frozenset(), True)]
        assert told.following.ready

    virtually(main())


def test_nothing_is_told_before_all_lists_are_complete() -> None:
    async def main() -> None:
        told = Told(complete=False)
        told.service()
        await passing(1)
        told.following.watchings[kinds.SERVICE].complete = True
        told.service("other")
        await passing(1)
        assert told.changes == []
        for watching in told.following.watchings.values():
            watching.complete = True
        told.following._changed(kinds.NAMESPACE)([])
        await passing(1)
        assert told.changes == [Change(frozenset({WEB, Key("shop", "other")}), frozenset(), True)]

    virtually(main())


def test_nothing_is_told_before_the_pools_were_good() -> None:
    async def main() -> None:
        told = Told(pools=False)
        told.pool("nonsense")
        told.service()
        await passing(1)
        assert (told.changes, told.reports, told.following.ready) == ([], [1], False)
        assert told.following.statistics().stale
        told.pool("192.0.2.0/24")
        await passing(1)
        assert (len(told.changes), told.reports, told.following.ready) == (1, [1, 0], True)

    virtually(main())


def test_a_cluster_without_pools_is_told() -> None:
    async def main() -> None:
        told = Told(pools=False)
        told.service()
        await passing(1)
        assert len(told.changes) == 1

    virtually(main())


def test_a_lone_change_is_told_at_once() -> None:
    async def main() -> None:
        told = Told()
        await passing(1)
        now = asyncio.get_running_loop().time()
        told.service()
        await passing(0)
        assert told.times[-1] == now
        assert told.changes[-1] == Change(frozenset({WEB}))

    virtually(main())


def test_what_follows_from_a_change_is_told_at_once_too() -> None:
    async def main() -> None:
        told = Told()
        for _ in range(3):
            await passing(AT_ONCE * BURST_S)
            began, before = asyncio.get_running_loop().time(), len(told.times)
            for step in range(AT_ONCE):
                told.service(f"s{began}-{step}")
                await passing(0.002)
            assert told.times[before:] == pytest.approx([began + 0.002 * step for step in range(AT_ONCE)])

    virtually(main())


def test_who_is_woken_rests_for_as_long_as_that_took() -> None:
    pace = Pace()
    pace.woke(10.0, 10.3)
    assert pace.next_s() == pytest.approx(10.6)
    pace.woke(10.6, 10.6)
    assert pace.next_s() == pytest.approx(10.6)


def test_the_pace_is_one_in_a_while_in_the_long_run() -> None:
    pace, now, count = Pace(), 0.0, 0
    while now < 10.0:
        pace.woke(now, now)
        count, now = count + 1, max(now, pace.next_s())
    assert count <= 10.0 / BURST_S + AT_ONCE


def test_a_burst_is_told_in_few_wake_ups() -> None:
    async def main() -> None:
        told = Told()
        await passing(1)
        for number in range(1000):
            told.service(f"s{number}")
            await passing(0.001)
        await passing(1)
        assert len(told.times) <= 1 + 1 / BURST_S + AT_ONCE
        late = told.times[AT_ONCE + 1 :]
        gaps = [later - earlier for earlier, later in pairwise(late)]
        assert min(gaps) >= BURST_S - 1e-6
        assert sum(len(change.services) for change in told.changes[1:]) == 1000

    virtually(main())


def test_what_changes_nothing_wakes_nobody() -> None:
    async def main() -> None:
        told = Told()
        await passing(1)
        told.change(kinds.NAMESPACE, Key("", "shop"), {"team": "web"})
        await passing(1)
        assert len(told.changes) == 1
        assert told.following.statistics().updates == 2

    virtually(main())


def test_what_is_followed_besides_holds_nobody_up_and_is_told_of_when_all_of_it_is_known() -> None:
    async def main() -> None:
        told = Told(besides=BGP)
        profiled = peer("tor", bfdProfile="quick")
        told.change(kinds.BGP_PEER, profiled.key, profiled)
        told.service()
        await passing(1)
        assert (len(told.changes), told.following.settled) == (1, False)
        assert told.reports == [0], "expected nothing to be told of a profile that may come yet"
        told.complete(*BGP)
        await passing(1)
        assert (told.changes[-1].config, told.following.settled, told.reports) == (True, True, [0, 1])

    virtually(main())


@pytest.mark.parametrize("found", [True, False])
def test_a_secret_is_awaited_for_a_while(found: bool) -> None:
    async def main() -> None:
        told = Told(besides=BGP)
        watching = Watching(kinds.SECRET, lambda secret: secret, name="word")
        never: asyncio.Task[None] = asyncio.ensure_future(asyncio.Event().wait())  # type: ignore[arg-type]
        told.following._secrets["word"] = watching, never
        locked = peer("tor", passwordSecret={"name": "word"})
        told.change(kinds.BGP_PEER, locked.key, locked)
        told.complete(*BGP)
        await passing(5)
        assert (told.following.settled, told.reports) == (False, [0])
        if found:
            watching.complete = True
            told.following._changed(kinds.SECRET)([Changed(Key("", "word"), None, secret("word", password="c2Vzc2Ft"))])
        else:
            watching.counts.failures = ATTEMPTS
        await passing(2)
        assert (told.following.settled, told.reports) == (True, [0] if found else [0, 1])
        assert [each.name for each in told.following.world.config.peers] == (["tor"] if found else [])
        never.cancel()

    virtually(main())
