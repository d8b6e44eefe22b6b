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
from arpfast.local import refusal
from arpfast.office import AnnounceSettings
from arpfast.probing import ProbeMode
from arpfast.responder import RateLimit
from arpfast.spans import NOTHING, Spans
from arpfast.yamltree import Problem

if TYPE_CHECKING:
    from arpfast.ring.settings import RingSettings

FIXED = ("control", "metrics", "local", "backend", "restart_s")
"""Fields that a reload cannot change."""
FIXED_IN_RING = ("port", "label", "election")
"""Those of `ring` that it cannot; nor can it make a ring or give one up."""


class Place(msgspec.Struct, frozen=True):
    """Where the daemon is and what the command line said: the same for its whole life."""

    path: str | None = None
    """The settings file, if there is one."""
    overrides: Overrides = Overrides()
    user: str | None = None
    """Whom to become when started as root; None: the first there is of `privileges.DEFAULT_USERS`."""
    name: str | None = None
    """Which member of the ring this is called; None: as the host is."""


class Stale(msgspec.Struct, frozen=True):
    """The file was refused; the settings in force are older than it."""

    since_unix_s: float
    errors: list[str]


def read(place: Place) -> Config:
    """The settings as the file and the command line make them now, and the files that they name. Raises ConfigError."""
    config = settings.combine(settings.load(place.path) if place.path else Config(), place.overrides)
    if config.local and (why_not := refusal(config.addresses)):
        raise ConfigError(place.path or "", [Problem(0, "local", why_not)])
    if config.ring is not None and config.ring.key_files:
        from arpfast.ring.keys import KeyFileError, load  # noqa: PLC0415 (most have no ring)

        try:
            load(config.ring)
        except KeyFileError as error:
            raise ConfigError(place.path or "", [Problem(0, "ring.key_files", str(error))]) from None
    return config


def limit(config: Config) -> RateLimit | None:
    """The rate limit as the responder takes it."""
    wanted = config.rate_limit
    return None if wanted is None else RateLimit(wanted.per_mac, wanted.burst, wanted.total)


class Share(msgspec.Struct, frozen=True):
    """What a ring has given to this host, of what its members have in common."""

    owned: Spans = NOTHING
    fresh: Spans = NOTHING
    """Of these, what no member is known to have answered for before."""


def wish(config: Config, share: Share | None = None) -> tuple[list[Answer], Wish]:
    """What the announcer is to want: everything, or a share of it."""
    own, proxy, settled, standby = config.addresses, config.proxy, NOTHING, NOTHING
    if share is not None:
        standby = own
        own, proxy = own & share.owned, proxy & share.owned
        settled = own - share.fresh
    answers = [Answer(own - settled), Answer(proxy, proxy=True)]
    if settled:
        answers.append(Answer(settled, settled=True))
    announce = AnnounceSettings(
        probe=ProbeMode(config.announce.probe),
        repeat=config.announce.repeat,
        refresh_s=config.announce.refresh_s or 0.0,
        conflict=ConflictPolicy(config.conflict),
    )
    return answers, Wish(Choice(config.interfaces), announce, standby)


def _carried_over(old: Spans, new: Spans) -> tuple[Spans, int, int]:
    """The same set as `new`, made of the spans that `old` has already, and how many addresses are added and removed.

    What else is known of addresses that stay is known by the old spans: 100 000 of them twice would take 12 MiB more.
    """
    added, removed = new - old, old - new
    return (old - removed) | added, added.size, removed.size


def fixed(old: Config, new: Config) -> list[str]:
    """The fields that differ but stay as they are until a restart."""
    changed = [name.removesuffix("_s") for name in FIXED if getattr(old, name) != getattr(new, name)]
    if old.ring is None or new.ring is None:
        return changed + (["ring"] if old.ring != new.ring else [])
    return changed + [f"ring.{name}" for name in FIXED_IN_RING if getattr(old.ring, name) != getattr(new.ring, name)]


def _seated(old: RingSettings | None, new: RingSettings | None) -> RingSettings | None:
    """The ring as a reload leaves it: what it cannot change stays, so that what is in force is one thing everywhere."""
    if old is None or new is None:
        return old
    return msgspec.structs.replace(new, **{name: getattr(old, name) for name in FIXED_IN_RING})


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
        fields = Config.__struct_fields__
        changed = [name.removesuffix("_s") for name in fields if getattr(old, name) != getattr(new, name)]
        own, more_own, fewer_own = _carried_over(old.addresses, new.addresses)
        proxied, more_proxied, fewer_proxied = _carried_over(old.proxy, new.proxy)
        self.config = msgspec.structs.replace(new, addresses=own, proxy=proxied, ring=_seated(old.ring, new.ring))
        self.reloads["applied"] += 1
        self.stale = None
        self.loaded_unix_s = time.time()
        self.needs_restart = sorted({*self.needs_restart, *fixed(old, new)})
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
