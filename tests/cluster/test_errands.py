"""Wishes for the API server, in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cluster.errands import Errands
from cluster.refusal import ApiError
from tests.arpfast.virtual import passing, virtually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Quiet:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def warning(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    debug = info = warning


def errands(do: Callable[[str, int], Awaitable[None]], **settings: Any) -> Errands[str, int]:
    return Errands(do, log=Quiet(), what="telling", **settings)


def running(errands: Errands[str, int], main: Callable[[], Awaitable[None]]) -> None:
    async def both() -> None:
        task = asyncio.get_running_loop().create_task(errands.run())
        await main()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtually(both())


class Server:
    """Takes a second for each, refuses what it is told to, and notes how many are under way."""

    def __init__(self, *refusals: Exception) -> None:
        self.done: list[tuple[str, int]] = []
        self.refusals = list(refusals)
        self.under_way = self.most = 0
        self.times: list[float] = []

    async def do(self, key: str, wish: int) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.times.append(asyncio.get_running_loop().time())
        try:
            await passing(1)
            if self.refusals:
                raise self.refusals.pop(0)
            self.done.append((key, wish))
        finally:
            self.under_way -= 1


def test_all_is_done_and_a_few_at_once() -> None:
    server = Server()
    made = errands(server.do, in_flight=4)

    async def main() -> None:
        for number in range(20):
            made.want(str(number), number)
        await made.wait_idle()

    running(made, main)
    assert sorted(server.done) == sorted((str(number), number) for number in range(20))
    assert server.most == 4
    assert (made.done, len(made)) == (20, 0)


def test_the_latest_wish_counts_and_a_key_is_under_way_once() -> None:
    server = Server()
    made = errands(server.do)

    async def main() -> None:
        made.want("a", 1)
        await passing(0.5)
        made.want("a", 2)
        made.want("a", 3)
        await made.wait_idle()

    running(made, main)
    assert server.done == [("a", 1), ("a", 3)]
    assert server.most == 1


def test_what_failed_is_tried_again_with_the_latest_wish() -> None:
    server = Server(ApiError("patch x", 500), ConnectionRefusedError())
    made = errands(server.do)

    async def main() -> None:
        made.want("a", 1)
        await passing(1.01)
        made.want("a", 2)
        await made.wait_idle()

    running(made, main)
    assert server.done == [("a", 2)]
    assert made.failures == 2


def test_a_server_that_asks_for_time_gets_it() -> None:
    server = Server(ApiError("patch x", 429, retry_after_s=60))
    made = errands(server.do)

    async def main() -> None:
        made.want("a", 1)
        await made.wait_idle()

    running(made, main)
    assert server.times[1] - server.times[0] >= 61


def test_no_key_is_told_more_often_than_said() -> None:
    server = Server()
    made = errands(server.do, every_s=10.0)

    async def main() -> None:
        for number in range(40):
            made.want("a", number)
            await passing(1)
        await made.wait_idle()

    running(made, main)
    assert len(server.done) <= 5
    assert server.done[-1] == ("a", 39)
    assert all(later - earlier >= 10 for earlier, later in zip(server.times, server.times[1:], strict=False))


def test_what_is_dropped_is_not_done() -> None:
    server = Server(ConnectionRefusedError())
    made = errands(server.do)

    async def main() -> None:
        made.want("a", 1)
        await passing(1.01)
        made.drop("a")
        await passing(60)
        made.want("b", 1)
        await made.wait_idle()

    running(made, main)
    assert server.done == [("b", 1)]


def test_a_key_that_fails_holds_up_no_other() -> None:
    server = Server(*[ConnectionRefusedError()] * 3)
    made = errands(server.do, in_flight=1)

    async def main() -> None:
        for key in "abcd":
            made.want(key, 1)
        await made.wait_idle()

    running(made, main)
    assert server.done[0] == ("d", 1)
    assert len(server.done) == 4
