"""A ring as people watch it: which host each address is answered by, as client and router see it, while things happen.

    with Traffic.start(ring.client, ring.addresses, live=True) as traffic, Live(ring, traffic) as live:
        with live.chapter("the cable of a is cut"):
            ring.cut(a)
            live.wait_calm()

The table stays at the end of the terminal and is drawn anew several times a second by a thread of its own; what a
chapter came to is printed above it and stays: `outage 312 ms`, the longest that the client saw, or `nothing lost`.
Without a terminal only those lines are printed.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live as Screen
from rich.table import Table
from rich.text import Text

from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.ring import Ring
    from lab.traffic import Event, Traffic

AWAY = Text("away", "bold red")
HERE, ROUTED, ELSEWHERE = Text("●", "bold green"), Text("○", "yellow"), Text("·", "dim")


class Live:
    """A context manager. The traffic must have been started `live`."""

    def __init__(self, ring: Ring, traffic: Traffic, console: Console | None = None) -> None:
        """Nothing is shown yet."""
        self.console = console or Console(highlight=False)
        self._ring = ring
        self._traffic = traffic
        self._names = {host.number: host.name for host in ring.hosts}
        self._screen = Screen(
            console=self.console, get_renderable=self.table, refresh_per_second=5, transient=True,
            auto_refresh=self.console.is_terminal,
        )  # fmt: skip

    def table(self) -> Table:
        """Addresses by hosts: ● answers the client, ○ is where the router sends without an answer."""
        away, answering = self._state()
        owners = self._ring.owners()
        table = Table("address", *self._names.values(), "client")
        for address in self._ring.addresses:
            routed = owner.number if (owner := owners[address]) else 0
            reached = 0 if address in away else answering.get(address, 0)
            cells = [
                HERE if number == reached else ROUTED if number == routed else Text("·", "dim")
                for number in self._names
            ]
            table.add_row(address, *cells, Text("answered") if reached else AWAY)
        return table

    def _state(self) -> tuple[set[str], dict[str, int]]:
        """The addresses that are away, and who answered for each last."""
        away: set[str] = set()
        answering: dict[str, int] = {}
        for event in self._traffic.events():
            match event.event:
                case "lost":
                    away.add(event.address)
                case "back":
                    away.discard(event.address)
                case "host":
                    answering[event.address] = event.host
        return away, answering

    def wait_calm(self, for_s: float = 1.0, deadline_s: float = 30.0) -> None:
        """Wait until every address is answered and nothing has happened to any for a while."""
        many, since_s = -1, time.monotonic()

        def calm() -> bool:
            nonlocal many, since_s
            if (now := len(self._traffic.events())) != many:
                many, since_s = now, time.monotonic()
            away, answering = self._state()
            all_here = not away and len(answering) == len(self._ring.addresses)
            return all_here and time.monotonic() - since_s >= for_s

        wait_until(calm, deadline_s, what="every address to be answered", every_ms=50)

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """Say what happens now, and at the end what the client noticed."""
        self.console.print(Text(title, "bold"))
        _, before = self._state()
        many = len(self._traffic.events())
        yield
        for line in self._told(self._traffic.events(many), before):
            self.console.print(f"  {line}")

    def _told(self, events: list[Event], answering: dict[str, int]) -> Iterator[str]:
        outages = [event.outage_ms for event in events if event.event == "back"]
        away = {event.address for event in events if event.event == "lost"}
        away -= {event.address for event in events if event.event == "back"}
        if outages:
            yield f"outage {max(outages):.0f} ms"
        if away:
            yield f"still away: {', '.join(sorted(away))}"
        if not outages and not away:
            yield "nothing lost"
        moves: Counter[tuple[int, int]] = Counter()
        after = {event.address: event.host for event in events if event.event == "host"}
        for address, host in after.items():
            if address in answering and answering[address] != host:
                moves[answering[address], host] += 1
        for (one, other), many in moves.items():
            what = "1 address" if many == 1 else f"{many} addresses"
            yield f"{what} went from {self._names[one]} to {self._names[other]}"

    def __enter__(self) -> Self:
        """Show it."""
        self._screen.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show it no more."""
        self._screen.stop()
