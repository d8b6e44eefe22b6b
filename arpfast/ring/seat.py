"""This host's seat in the ring: all that the daemon runs for it, started and replaced as one.

`Ring` decides, `Node` gossips, `Watching` sees to the watches, `Checks` to what must work here; `Hooks` tell commands
of changes. The settings are the same file on every member, so a seat begins by finding out which member it is.
"""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

from arpfast.checks import Checks
from arpfast.gossip.endpoints import Target
from arpfast.gossip.node import Node
from arpfast.gossip.settings import Settings as GossipSettings
from arpfast.gossip.timing import LAN, RING
from arpfast.hooks import Hooks
from arpfast.inforce import Share, wish
from arpfast.inspection import Event as Told
from arpfast.ring.keys import load
from arpfast.ring.ring import Ring
from arpfast.ring.standing import META
from arpfast.ring.telling import address_state, news, ring_state
from arpfast.ring.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arpfast.announcer import Announcer
    from arpfast.config import Config
    from arpfast.crossing import Fact
    from arpfast.gossip.keys import Key
    from arpfast.interfaces import Interface
    from arpfast.responder import Responder
    from arpfast.ring.orders import Event
    from arpfast.ring.settings import RingSettings
    from arpfast.ring.telling import AddressState, RingState
    from arpfast.spans import Spans, Version

LEAVE_S = 6.0
"""How long a member that is told to stop takes at most to hand over and say good-bye."""


class Seat:
    """One member of the ring."""

    def __init__(
        self,
        name: str,
        address: str,
        config: Config,
        keys: tuple[Key, ...],
        *,
        announcer: Announcer,
        responder: Responder,
        report: Callable[[Told], None],
        changed: Callable[[], None],
    ) -> None:
        """`address` is that of `config.ring.members` which is ours; `changed` is told when `owned` has."""
        assert config.ring is not None
        self.name, self.address = name, address
        self.config = config
        self._announcer, self._report, self._changed = announcer, report, changed
        self.hooks = Hooks(config.on_change, report)
        self.ring = Ring(
            name,
            config.ring,
            answer=self._answer,
            announce=announcer.announce,
            watching=Watching(responder, config.ring.profile, announcer.members),
            report=self._tell,
        )
        self.checks = Checks(config.checks, self._checked, report)
        self.node = Node(_gossip(name, address, config.ring, keys), self.ring)
        self._follow(config)

    async def open(self) -> None:
        """Bind, and begin to look for the others. Raises OSError."""
        self._answer(*self.ring.share)
        self.ring.turn()
        await self.node.open()

    async def run(self) -> None:
        """Take part, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.ring.run(self.node))
                group.create_task(self.checks.run())
                group.create_task(self.hooks.run())
        finally:
            await self.node.close()

    def want(self, config: Config) -> None:
        """Put these settings in force, without a gap. Which member this is stays."""
        assert config.ring is not None
        if ip_address(self.address) not in config.ring.addresses:
            self._report(Told("warning", "this host is not among the members any more", {"address": self.address}))
        self.config = config
        self.hooks.want(config.on_change)
        self.checks.want(config.checks)
        self.node.set_keys(load(config.ring))
        self.node.set_join(_others(self.address, config.ring))
        self._follow(config)
        self._answer(*self.ring.share)

    async def leave(self) -> None:
        """Hand over what others can take, tell the commands, and leave; within LEAVE_S."""
        until_s = time.monotonic() + LEAVE_S
        await self.ring.leave(LEAVE_S - 1.0)
        await self.hooks.drain(max(0.1, until_s - time.monotonic()))

    @property
    def owned(self) -> Spans:
        """What the ring has given to us."""
        return self.ring.share[0]

    def interfaces(self, used: Iterable[Interface]) -> None:
        """Replace the interfaces that are answered on."""
        self.ring.interfaces(used)

    def unanswered(self, spans: Spans) -> None:
        """Replace what is not answered, though it is wanted."""
        self.ring.unanswered(spans)

    def facts(self, facts: list[Fact]) -> None:
        """What the responder's thread has told."""
        self.ring.facts(facts)

    def status(self) -> RingState:
        """The ring as it is seen from here."""
        return ring_state(self.ring.ownership, self.ring.settings.profile, self.ring.absent())

    def explain(self, version: Version, value: int) -> AddressState:
        """Who owns an address, and why."""
        return address_state(self.ring.ownership, version, value)

    def _follow(self, config: Config) -> None:
        assert config.ring is not None
        self.ring.others = _others(self.address, config.ring)
        self.ring.want(config.addresses, config.proxy, config.ring)

    def _answer(self, owned: Spans, fresh: Spans) -> None:
        self._announcer.want(*wish(self.config, Share(owned, fresh)))
        self._announcer.act()
        self._changed()

    def _checked(self) -> None:
        self.ring.unhealthy(self.checks.failing())

    def _tell(self, event: Event) -> None:
        told = news(event)
        self._report(told)
        self.hooks.put({"event": event.event, "unix_s": time.time(), "me": self.name, **told.fields})


def _gossip(name: str, address: str, settings: RingSettings, keys: tuple[Key, ...]) -> GossipSettings:
    return GossipSettings(
        name=name,
        bind=address,
        port=settings.port,
        join=tuple(_others(address, settings)),
        keys=keys,
        label=settings.label or "",
        timing=LAN if settings.election == "metallb" else RING,
        meta=META,
    )


def _others(address: str, settings: RingSettings) -> dict[str, str]:
    """The addresses of the other members, by how the gossip writes where they are reached."""
    return {
        str(Target(member, settings.port)): str(ip_address(member)) for member in settings.members if member != address
    }
