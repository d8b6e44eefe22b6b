"""A ring of `arpfast run` on the stage for failover, and what can be said of it: agreed, and by whom each is answered.

Agreement is what the members themselves say, each of all; who answers is what a witness on the wire hears, who asks for
every address all the time. Tests wait for the first and then have the second observed for a number of questions, not
for a time: a loaded machine only takes longer.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, Self

from lab import wait_until
from lab.member import Member, start
from lab.ring import Ring
from lab.traffic import Witness

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lab import Host, Lab
    from lab.traffic import Heard

DEADLINE_S = 45.0
"""Generous: a loaded machine of two cores must not fail a test that waits for what surely comes."""
QUICK = {"hold_down": "300ms"}
NOBODY = 65534


def secret(lab: Lab, name: str, text: str) -> str:
    """A file that holds a secret, which the user that the daemon becomes can read and others cannot."""
    path = lab.directory / name
    path.write_text(text)
    path.chmod(0o640)
    os.chown(path, NOBODY, NOBODY)
    return str(path)


class Company:
    """Hosts on a switch, a member on each, and a witness who asks for all addresses until `dismiss`."""

    def __init__(
        self,
        lab: Lab,
        addresses: Sequence[str],
        *,
        hosts: int = 3,
        options: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        gossip_apart: bool = False,
    ) -> None:
        """`options` go to the section `ring` of each file, `settings` beside it."""
        self.ring = Ring(lab, hosts, addresses=addresses, gossip_apart=gossip_apart)
        self.addresses = tuple(addresses)
        self.options, self.settings = {**QUICK, **(options or {})}, dict(settings or {})
        self.alike = True
        """Their files are: then nothing is left to hand over once they agree."""
        self.members = [
            Member(self.ring, host, options=self.options, settings=self.settings) for host in self.ring.hosts
        ]

    def __enter__(self) -> Self:
        """Start everybody, and wait until they agree."""
        start(self.members)
        self._witness = Witness.start(self.ring.witness, self.addresses)
        self.agree()
        return self

    def __exit__(self, *_: object) -> None:
        """The lab ends what runs."""

    def on(self, host: Host) -> Member:
        """The member on this host."""
        return next(member for member in self.members if member.host is host)

    def but(self, *absent: Member) -> list[Member]:
        """The others."""
        return [member for member in self.members if member not in absent]

    def agree(self, present: Iterable[Member] | None = None, *, addresses: int | None = None) -> dict[str, Member]:
        """Wait until the members that are present (all) agree who owns what, and nothing more is about to move: nobody
        is in hold-down, has anything to hand over, or doubts another.

        Who owns each address. They may count absent ones as members that are not here.
        """
        there = list(self.members if present is None else present)
        count = len(self.addresses) if addresses is None else addresses
        views: list[dict[str, dict[str, Any]]] = []

        def agreed() -> bool:
            status = [member.ask("status") for member in there]
            views[:] = [{seen["name"]: seen for seen in said["ring"]["members"]} for said in status]
            names = {member.name for member in there}
            pictures = [
                {name: (seen["owned"], seen["addresses"], seen["here"], seen["holding"]) for name, seen in view.items()}
                for view in views
            ]
            here = [{name: seen for name, seen in picture.items() if name in names or seen[2]} for picture in pictures]
            return (
                all(said["ready"] and not (self.alike and said["ring"]["handing_over"]) for said in status)
                and all(picture == here[0] for picture in here)
                and set(here[0]) == names
                and all(seen["here"] and seen["gossip"] == "alive" for view in views
                        for name, seen in view.items() if name in names)
                and not any(holding for _, _, _, holding in here[0].values())
                and sum(owned for owned, _, _, _ in here[0].values()) == count
            )  # fmt: skip

        try:
            wait_until(agreed, DEADLINE_S, what="the members to agree", every_ms=20)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.diary()}\n{json.dumps(views, indent=1)}") from None
        return self.owners(there)

    def owners(self, present: Iterable[Member] | None = None) -> dict[str, Member]:
        """Who says to own each address, of the members that are present, at a time when none of them is two's.

        They are asked one after the other: what all say the same twice, all said in between. A hand-over has two owners
        until the old one has heard of the new one, and is waited for.
        """
        there = list(self.members if present is None else present)
        said: list[list[tuple[str, Member]]] = [[], []]

        def still() -> bool:
            said[:] = said[1], self._say_to_own(there)
            return said[0] == said[1] and len(said[1]) == len(dict(said[1]))

        try:
            wait_until(still, DEADLINE_S, what="no address to be two members'", every_ms=1)
        except AssertionError as error:
            told = [(address, member.name) for address, member in said[1]]
            raise AssertionError(f"{error}\n{told}\n{self.diary()}") from None
        return dict(said[1])

    def _say_to_own(self, there: Sequence[Member]) -> list[tuple[str, Member]]:
        return [
            (address, member)
            for member in there
            for address in self.addresses
            if member.ask("explain", address)["ring"]["ours"]
        ]

    def observe(self, rounds: int = 30) -> None:
        """Wait until the witness has asked so often for each address."""
        until = self._asked() + rounds * len(self.addresses)
        wait_until(lambda: self._asked() >= until, DEADLINE_S, what="the witness to ask", every_ms=20)

    def _asked(self) -> int:
        link = self.ring.witness
        statistics = link.host.netlink("get_links", link.index)[0].get_attr("IFLA_STATS64")
        return int(statistics["tx_packets"])

    def dismiss(self) -> Heard:
        """End the witness: what it heard."""
        return self._witness.stop()

    def watch_anew(self) -> None:
        """Forget what the witness has heard, which may be more than it could keep, and go on."""
        self._witness.process.close()
        self._witness = Witness.start(self.ring.witness, self.addresses)

    def check(self, present: Iterable[Member] | None = None, rounds: int = 30) -> dict[str, Member]:
        """Have it observed that each address is answered by its owner and by nobody else; who owns each.

        A machine that stands still for a moment makes addresses move, rightly: then it is observed again.
        """
        there = list(self.members if present is None else present)
        for _ in range(10):
            owners = self.agree(there)
            before = self.disturbances()
            self.watch_anew()
            self.observe(rounds)
            heard = self.dismiss()
            self._witness = Witness.start(self.ring.witness, self.addresses)
            told = {address: [self._name(mac) for mac in heard.owners(address)] for address in self.addresses}
            if told == {address: [member.name] for address, member in owners.items()}:
                return owners
            if self.disturbances() == before:
                break
        raise AssertionError(f"{told}\n{self.diary()}")

    def disturbances(self) -> int:
        """How often a member has told that it, or another, stood still."""
        return sum(
            len(member.events(event)) for member in self.members for event in ("stood aside", "silent on the wire")
        )

    def _name(self, mac: Any) -> str:
        host = self.ring.of(mac)
        return str(mac) if host is None else self.on(host).name

    def diary(self) -> str:
        """What all members have logged, in order: for whoever reads why a test failed."""
        lines = [
            (json.loads(line).get("time", json.loads(line).get("timestamp", "")), member.name, line)
            for member in self.members
            if hasattr(member, "process")
            for line in member.process.lines
            if line.startswith("{")
        ]
        others = [f"{member.name}: {line}" for member in self.members if hasattr(member, "process")
                  for line in member.process.lines if not line.startswith("{")]  # fmt: skip
        return "\n".join([f"{name} {line}" for _, name, line in sorted(lines)[-80:]] + others[-30:])


def now_ns() -> int:
    """The clock of the witness and of the client."""
    return time.monotonic_ns()
