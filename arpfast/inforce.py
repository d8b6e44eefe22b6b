"""The settings in force: where they come from, what they mean to the parts, and how they are replaced.

Every reload reads the file as a whole, and replaces the wish as a whole. A file that is refused leaves the settings in
force; they are *stale* from then on, which `status` and a metric say with the reasons.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from arpfast import config as settings
from arpfast.announcer import Answer
from arpfast.announcer import Settings as Wish
from arpfast.config import Config, ConfigError, Overrides
from arpfast.conflicts import ConflictPolicy
from arpfast.control import Refused
from arpfast.interfaces import Choice
from arpfast.office import AnnounceSettings
from arpfast.probing import ProbeMode
from arpfast.responder import RateLimit

if TYPE_CHECKING:
    from arpfast.spans import Spans

FIXED = ("control", "metrics")
"""Fields that a reload cannot change."""


class Place(msgspec.Struct, frozen=True):
    """Where the daemon is and what the command line said: the same for its whole life."""

    path: str | None = None
    """The settings file, if there is one."""
    overrides: Overrides = Overrides()
    user: str | None = None
    """Whom to become when started as root; None: the first there is of `privileges.DEFAULT_USERS`."""


class Stale(msgspec.Struct, frozen=True):
    """The file was refused; the settings in force are older than it."""

    since_unix_s: float
    errors: list[str]


def read(place: Place) -> Config:
    """The settings as the file and the command line make them now. Raises ConfigError."""
    return settings.combine(settings.load(place.path) if place.path else Config(), place.overrides)


def limit(config: Config) -> RateLimit | None:
    """The rate limit as the responder takes it."""
    wanted = config.rate_limit
    return None if wanted is None else RateLimit(wanted.per_mac, wanted.burst, wanted.total)


def wish(config: Config) -> tuple[list[Answer], Wish]:
    """What the announcer is to want."""
    answers = [Answer(config.addresses), Answer(config.proxy, proxy=True)]
    announce = AnnounceSettings(
        probe=ProbeMode(config.announce.probe),
        repeat=config.announce.repeat,
        refresh_s=config.announce.refresh_s or 0.0,
        conflict=ConflictPolicy(config.conflict),
    )
    return answers, Wish(Choice(config.interfaces), announce)


def _carried_over(old: Spans, new: Spans) -> tuple[Spans, int, int]:
    """The same set as `new`, made of the spans that `old` has already, and how many addresses are added and removed.

    What else is known of addresses that stay is known by the old spans: 100 000 of them twice would take 12 MiB more.
    """
    added, removed = new - old, old - new
    return (old - removed) | added, added.size, removed.size


class InForce:
    """What is in force now, since when, and what became of the attempts to replace it."""

    def __init__(self, place: Place, config: Config) -> None:
        """`config` as `read` from `place`."""
        self.place, self.config = place, config
        self.stale: Stale | None = None
        self.loaded_unix_s = time.time()
        self.reloads = {"applied": 0, "refused": 0}
        self.needs_restart: list[str] = []
        """Fields that a reload has changed in vain."""

    async def read_again(self) -> Config:
        """What the file says now, not yet in force. Raises Refused with all problems; then the settings are stale."""
        if self.place.path is None:
            raise Refused("expected a settings file to read again, but the daemon was started without one")
        try:
            return await asyncio.to_thread(read, self.place)
        except ConfigError as error:
            self.reloads["refused"] += 1
            self.stale = Stale(time.time(), error.lines())
            raise Refused(*error.lines()) from None

    def replace(self, new: Config) -> dict[str, Any]:
        """Put `new` in force, and say what differs."""
        old = self.config
        changed = [name for name in Config.__struct_fields__ if getattr(old, name) != getattr(new, name)]
        own, more_own, fewer_own = _carried_over(old.addresses, new.addresses)
        proxied, more_proxied, fewer_proxied = _carried_over(old.proxy, new.proxy)
        self.config = msgspec.structs.replace(new, addresses=own, proxy=proxied)
        self.reloads["applied"] += 1
        self.stale = None
        self.loaded_unix_s = time.time()
        self.needs_restart = sorted({*self.needs_restart, *(name for name in FIXED if name in changed)})
        return {
            "added": more_own + more_proxied,
            "removed": fewer_own + fewer_proxied,
            "changed": changed,
            "needs_restart": self.needs_restart,
        }

    def status(self) -> dict[str, Any]:
        """What `arpfast status` says of the settings."""
        return {
            "path": self.place.path,
            "loaded_unix_s": self.loaded_unix_s,
            "stale": None if self.stale is None else msgspec.to_builtins(self.stale),
            "needs_restart": self.needs_restart,
        }
