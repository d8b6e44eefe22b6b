"""A node that announces by BGP without a cluster: our `Bgp` in a process of its own, and gobgpd beside it, as in a Pod.

    speaking = Speaking(host)
    speaking.start()
    speaking.want({"tor": peer(address="192.0.2.1", asn=64601)}, {"203.0.113.1/32": {"tor": Attributes()}})
    speaking.wait_established("tor")

The process is `speaker.py`: wishes go in by its standard input, and what becomes of the sessions comes out as lines of
JSON.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from cluster.config import Peer
from lab.native import HERE
from lab.programs import GOBGPD
from lab.waiting import DeadlineError, wait_until
from speaker.bgp.supervising import FLAGS
from speaker.bgp.wish import Neighbour, Session, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cluster.config import BFDProfile
    from lab.host import Host
    from lab.process import Process
    from speaker.bgp.wish import Attributes, Prefix

MY_ASN = 64500
DEADLINE_S = 60.0


def peer(name: str = "tor", *, bfd: BFDProfile | None = None, **fields: Any) -> Neighbour:
    """A peer that this node is to speak with; what is not said of it is what a BGPPeer leaves out."""
    given: dict[str, Any] = {"my_asn": MY_ASN, "nodes": frozenset[str]()} | fields
    return Neighbour(Peer(name=name, **given), bfd)


class Speaking:
    """One node's; `start` it."""

    def __init__(self, host: Host, gobgpd: Path | None = None) -> None:
        """`gobgpd` may be another one than we ship."""
        self.host = host
        self.directory = host.lab.directory / f"speaking-{host.name}"
        self.directory.mkdir(mode=0o700)
        self.socket = self.directory / "gobgpd.sock"
        self._gobgpd = gobgpd or GOBGPD.path()
        self._orders = -1
        self._heard = count(1)
        self.process: Process
        self.daemon: Process

    def start(self) -> None:
        """Start both."""
        self.start_daemon()
        self.start_speaker()

    def start_daemon(self) -> None:
        """Start gobgpd (again), as its container would: what is left of the one before is removed."""
        self.socket.unlink(missing_ok=True)
        self.daemon = self.host.spawn([self._gobgpd, "--api-hosts", f"unix://{self.socket}", *FLAGS])

    def start_speaker(self) -> None:
        """Start our side (again); it wants nothing yet."""
        ours, self._orders = os.pipe()
        with os.fdopen(ours, "rb") as orders:
            command = [sys.executable, "-P", str(HERE / "speaking" / "speaker.py"), str(self.socket), self.host.name]
            self.process = self.host.spawn(command, stdin=orders.fileno())
        self._heard = count(1)
        self.process.wait_for_line("^ready$", DEADLINE_S)

    def _order(self, verb: str, *given: Any) -> None:
        number = next(self._heard)
        os.set_blocking(self._orders, True)
        with os.fdopen(os.dup(self._orders), "wb") as orders:
            orders.write(base64.b64encode(pickle.dumps((number, verb, given))) + b"\n")
        self.process.wait_for_line(f'^{{"heard": {number}}}$', DEADLINE_S)

    def want(
        self, neighbours: Mapping[str, Neighbour], routes: Mapping[Prefix, Mapping[str, Attributes]] | None = None
    ) -> None:
        """Announce just this."""
        self._order("want", Wish(neighbours, routes or {}))

    def drain(self, draining: bool = True) -> None:
        """Ask the peers to look for other ways, or no longer."""
        self._order("drain", draining)

    def leave(self, *, withdraw: bool = False) -> None:
        """Stop as one that is told to."""
        self._order("leave", withdraw)

    def wait_settled(self) -> None:
        """Wait until gobgpd has what was wanted last."""
        self._order("settle")

    def kill(self) -> None:
        """Kill both where they stand."""
        self.process.kill()
        self.daemon.kill()

    def close(self) -> None:
        """End our side: gobgpd goes on."""
        os.close(self._orders)
        self.process.wait(DEADLINE_S)

    # What it says

    def _said(self) -> dict[str, Any]:
        line = next(
            (line for line in reversed(self.process.lines) if line.startswith('{"sessions"')), '{"sessions":{}}'
        )
        found: dict[str, Any] = json.loads(line)
        return found

    def sessions(self) -> dict[str, Session]:
        """All of them, by the name of the peer."""
        return msgspec.convert(self._said()["sessions"], dict[str, Session])

    @property
    def trouble(self) -> str:
        """Why gobgpd is of no use at the moment."""
        return str(self._said().get("trouble", ""))

    def flaps(self) -> int:
        """How often a session has ended, of all that there are."""
        return sum(session.flaps for session in self.sessions().values())

    def wait_established(self, *names: str) -> None:
        """Wait until the sessions with these peers are there."""

        def there() -> bool:
            sessions = self.sessions()
            return all(name in sessions and sessions[name].state == "established" for name in names)

        self._wait(there, f"sessions with {', '.join(names)}")

    def wait_why(self, name: str, pattern: str) -> None:
        """Wait until what is said of a peer that is not there has this in it."""

        def said() -> bool:
            session = self.sessions().get(name)
            return session is not None and pattern in session.why

        self._wait(said, f"{pattern!r} to be said of {name}")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            wait_until(condition, DEADLINE_S, every_ms=20)
        except DeadlineError:
            said = f"{self.process.output}\n{self.daemon.output}"
            raise DeadlineError(f"expected {what} on {self.host.name} within {DEADLINE_S:g} s:\n{said}") from None
