"""BIRD 2: one process, with the kernel's routes made of what it learns.

Its files are named on its command line, and it writes no others. It does not tell stale routes from others: all that a
peer has told are, while it restarts gracefully.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

from lab.routers.router import DETECT_MULTIPLIER, FAMILIES, Bfd, Peering, Route, Router, Session
from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PATHS = 64
ANSWER_S = 20.0
_ROUTE = re.compile(r"^(?P<prefix>\S+)?\s+unicast \[(?P<protocol>\S+) ")
_PAIR = re.compile(r"\((\d+),\s*(\d+)(?:,\s*(\d+))?\)")


class Bird(Router):
    """BIRD, as Debian has it."""

    product = "bird"

    def _spawn(self) -> None:
        configuration = self.directory / "bird.conf"
        configuration.write_text(self._configuration())
        self._socket = self.directory / "bird.ctl"
        process = self.host.spawn(["bird", "-f", "-c", configuration, "-s", self._socket, "-P", self.directory / "pid"])
        self.processes.append(process)
        wait_until(lambda: not process.alive or self._answers(), what="bird to answer")
        assert process.alive, process.output

    def _answers(self) -> bool:
        return self.host.run(["birdc", "-s", self._socket, "show", "status"], check=False).status == 0

    def tell(self, *words: str) -> str:
        """Have birdc do this; what it says."""
        return self.host.run(["birdc", "-s", self._socket, *words]).stdout

    # What it is told

    def _configuration(self) -> str:
        return "\n".join([
            "log stderr all;",
            f"router id {self.router_id};",
            'timeformat protocol "%s";',
            "protocol device { scan time 1; }",
            "protocol direct { ipv4; ipv6; }",
            *(line for family in FAMILIES for line in self._family(family)),
            *self._bfd_configuration(),
            *(line for number, peering in enumerate(self.peerings) for line in self._peer(f"peer{number}", peering)),
            "",
        ])  # fmt: skip

    def _family(self, family: str) -> Iterator[str]:
        where = "where source = RTS_BGP" if self.forwards else "none"
        yield f"protocol kernel {{ {family} {{ export {where}; }}; merge paths on limit {PATHS}; learn; }}"
        own = [network for network in self.networks if (":" in network) == (family == "ipv6")]
        if own:
            yield f"protocol static {{ {family};"
            yield from (f"  route {network} unreachable;" for network in own)
            yield "}"

    def _bfd_configuration(self) -> Iterator[str]:
        intervals = {peering.bfd_ms for peering in self.peerings if peering.bfd_ms}
        assert len(intervals) <= 1, "all peers of an interface have the same"
        for ms in intervals:
            yield (
                f'protocol bfd {{ interface "*" {{ min rx interval {ms} ms; min tx interval {ms} ms; '
                f"multiplier {DETECT_MULTIPLIER}; }}; }}"
            )

    def _peer(self, name: str, peering: Peering) -> Iterator[str]:
        assert peering.address, "BIRD speaks with addresses"
        yield f"protocol bgp {name} {{"
        yield f"  local as {peering.own_asn or self.asn};"
        yield f"  neighbor {peering.address} {f'as {peering.asn}' if peering.asn else 'external'};"
        yield f"  {'multihop' if peering.multihop else 'direct'};"
        yield f"  hold time {peering.hold_time_s}; connect delay time 1; connect retry time 1; error wait time 1, 1;"
        if peering.password:
            yield f'  password "{peering.password}";'
        if peering.passive:
            yield "  passive;"
        if peering.bfd_ms:
            yield "  bfd;"
        for family in peering.families:
            yield f"  {family} {{ import all; export where source = RTS_STATIC; }};"
        yield "}"

    # What it sees

    def _name(self, protocol: str) -> str:
        return self.peerings[int(protocol.removeprefix("peer"))].name

    def sessions(self) -> Mapping[str, Session]:
        """By `show protocols all`."""
        return {session.peer: session for session, _ in self._protocols()}

    def _protocols(self) -> Iterator[tuple[Session, bool]]:
        """Each session, and whether its peer restarts gracefully."""
        for block in re.split(r"\n(?=\S)", self.tell("show", "protocols", "all")):
            if found := re.match(r"(peer\d+) +BGP +\S+ +(\w+) +(\S+) ", block):
                protocol, up, since = found.groups()
                state = (_find(r"BGP state: +(\w+)", block) or "idle").lower()
                theirs = block.partition("Neighbor capabilities")[2].partition("Session:")[0]
                announced = (_find(r"AF announced: (.*)", theirs) or "").split()
                session = Session(
                    peer=self._name(protocol), state="idle" if state == "down" else state,
                    asn=int(_find(r"Neighbor AS: +(\d+)", block) or 0),
                    hold_time_s=int(_find(r"Hold timer: +[\d.]+/(\d+)", block) or 0),
                    since_unix_s=float(since) if up == "up" and state == "established" else 0.0,
                    families=frozenset(announced) if state == "established" else frozenset(),
                    received=sum(map(int, re.findall(r"Routes: +(\d+) imported", block))),
                )  # fmt: skip
                yield session, "Neighbor graceful restart active" in block

    def routes(self) -> Mapping[str, Sequence[Route]]:
        """By `show route all`."""
        restarting = {session.peer for session, restarts in self._protocols() if restarts}
        found: dict[str, list[Route]] = {}
        prefix = ""
        told = self.tell("show", "route", "all", "where", "source", "=", "RTS_BGP")
        for block in re.split(r"\n(?=\S| +unicast \[)", told):
            if match := _ROUTE.match(block):
                prefix = match["prefix"] or prefix
                peer = self._name(match["protocol"])
                found.setdefault(prefix, []).append(_route(prefix, peer, block, stale=peer in restarting))
        return {prefix: sorted(ways, key=lambda route: route.peer) for prefix, ways in found.items()}

    def count(self) -> int:
        """As everywhere; without a program for each question."""
        told = "".join(self._quickly(f"show protocols all peer{number}") for number in range(len(self.peerings)))
        return sum(map(int, re.findall(r"Routes: +(\d+) imported", told)))

    def _quickly(self, command: str) -> str:
        """What `birdc` does: lines that begin with a number and a blank end the greeting, and the answer."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(ANSWER_S)
            control.connect(str(self._socket))
            answer, lines = control.makefile(), list[str]()
            for sent in ("", f"{command}\n"):
                control.sendall(sent.encode())
                lines.clear()
                while not re.match(r"\d{4} ", line := answer.readline()):
                    assert line, f"expected an end of {lines}"
                    lines.append(line)
        return "".join(lines)

    def bfd(self) -> Mapping[str, Bfd]:
        """By `show bfd sessions`."""
        found = {}
        for line in self.tell("show", "bfd", "sessions").splitlines():
            words = line.split()
            if len(words) == 6 and words[2] in {"Up", "Down", "Init", "AdminDown"}:
                address, link, state, _, _, timeout = words
                peer = next(
                    (each.name for each in self.peerings if each.name in {address, f"{address}%{link}"}), address
                )
                found[peer] = Bfd(peer=peer, state=state.lower(), detect_ms=round(float(timeout) * 1000))
        return found


def _find(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def _route(prefix: str, peer: str, block: str, *, stale: bool) -> Route:
    local_pref, med = _find(r"BGP.local_pref: (\d+)", block), _find(r"BGP.med: (\d+)", block)
    plain = {f"{a}:{b}" for a, b, _ in _PAIR.findall(_find(r"BGP.community: (.*)", block) or "")}
    large = {f"large:{a}:{b}:{c}" for a, b, c in _PAIR.findall(_find(r"BGP.large_community: (.*)", block) or "")}
    return Route(
        prefix=prefix, peer=peer,
        next_hops=tuple((_find(r"BGP.next_hop: (.*)", block) or "").split()),
        as_path=tuple(int(number) for number in (_find(r"BGP.as_path: (.*)", block) or "").split()),
        origin=(_find(r"BGP.origin: (\w+)", block) or "").lower(),
        local_pref=int(local_pref) if local_pref else None,
        med=int(med) if med else None,
        communities=frozenset(plain | large), stale=stale,
    )  # fmt: skip
