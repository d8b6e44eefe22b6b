"""Who asked us lately is told of an address that comes to us from another member of the ring. Pure.

They have our addresses in their caches, so most likely this one, too, with the member's hardware address. Not every
host heeds what is announced by broadcast to all, and not every switch lets it through at once; what is said to one
alone, as a request (ARP) or an advertisement with O set (ND), passes. After the routers, before the broadcast.

Only who asked *us* is known here, for whatever address: what others are asked for dies in the kernel, and that is worth
more. So this reaches the hosts that use several of the ring's addresses; the broadcast reaches the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpfast.crossing import MessageKind
from arpfast.probing import PROBED_AT_MOST
from arpfast.spans import address_of

if TYPE_CHECKING:
    from arpfast.crossing import Asker
    from arpfast.presence import Presence
    from arpfast.spans import Spans

RECENT_S = 600.0
"""Who asked longer ago has most likely forgotten the answer."""
FRAMES_AT_MOST = 1024
"""With more addresses fewer hosts are told, the latest askers first; with still more, nobody."""


class Telling:
    """The askers that are told on one interface."""

    def __init__(self, presence: Presence) -> None:
        """Nobody has been told."""
        self._presence = presence
        self.told: frozenset[bytes] = frozenset()
        """Whom the last time. Their answers say nothing of the routers."""

    def tell(self, spans: Spans, now: float) -> None:
        """Tell of these addresses who asked lately, and is no router, which is asked itself."""
        spans, _ = spans.parted(PROBED_AT_MOST)
        told = []
        for version in (4, 6):
            of_version = spans.of_version(version)
            if not of_version or of_version.size > FRAMES_AT_MOST:
                continue
            for asker in self._askers(now, version)[: FRAMES_AT_MOST // of_version.size]:
                told.append(asker.mac)
                self._presence.send(
                    MessageKind.TELL,
                    of_version,
                    now,
                    live=lambda spans: spans & self._presence.answering,
                    target=asker.address,
                    mac=asker.mac,
                )
        self.told = frozenset(told)

    def _askers(self, now: float, version: int) -> list[Asker]:
        presence = self._presence
        office, interface = presence.office, presence.interface
        apart = office.members | office.macs | presence.confirming.routers
        return [
            asker
            for asker in office.askers
            if asker.ifindex == interface.index
            and asker.version == version
            and now - asker.monotonic_ns / 1e9 <= RECENT_S
            and asker.mac not in apart
            and address_of(asker.version, asker.address) not in interface.gateways
        ]
