"""What an outage is to those who suffer it: a client that never stops asking, and a witness of who says to be there.

    echo(host)                                        # the service: returns each probe with its own number in it
    with Traffic.start(client, addresses) as traffic: # the client: probes each address every 2 ms
        ...                                           # something happens
    delivered = traffic.stop()
    delivered.outages                                 # what was lost, how long, who answered before and after

`Traffic` drives `client.c`, `echo` is `echo.c`. Every address is a stream of its own. Up to 80 addresses are each
probed every 2 ms, more of them each as often as makes 40 000 probes a second (1 000 addresses: every 25 ms), because a
client that keeps the machine busy would measure itself. Times are `time.monotonic_ns()`, the same clock for every
process, and always the moment of sending: an outage lasts from the first lost probe to the next that was answered. A
probe is lost when no answer came within the patience.

`Witness` drives `witness.c`: it asks by broadcast ARP and by neighbour solicitations, and keeps every hardware address
that answers or announces. Two that do so at the same time are two owners. It asks as an interested neighbour does, and
so is one: whoever tells recent askers first tells it, too.
"""

from __future__ import annotations

import json
import re
import signal
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, Self

from lab.frames import Arp, Mac, Solicitation
from lab.native import compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lab.host import Host
    from lab.link import Link
    from lab.process import Process

PORT = 7
EVERY_S = 0.002
PROBES_PER_S = 40_000
PATIENCE_S = 0.1
_JSON = r"^\{\"(sent|asked)\".*\}$"


def echo(host: Host) -> Process:
    """Start the service in a host; it answers on every address that is local there, as the host's number."""
    process = host.spawn([compiled("traffic/echo.c"), f"host={host.number}", f"port={PORT}"])
    process.wait_for_line("^ready$", 10)
    return process


def _command(program: str, options: Mapping[str, object]) -> list[str]:
    return [str(compiled(f"traffic/{program}.c")), *(f"{name}={value}" for name, value in options.items())]


@dataclass(frozen=True)
class Outage:
    """Probes of one address that were lost in a row. Hosts are numbers; `before` is 0 if there had been no answer.

    `ended_ns` and `after` are 0 if no probe was answered any more.
    """

    address: str
    began_ns: int
    ended_ns: int
    lost: int
    before: int
    after: int

    @property
    def ms(self) -> float:
        """How long it was; infinite if it has not ended."""
        return (self.ended_ns - self.began_ns) / 1e6 if self.ended_ns else float("inf")


@dataclass(frozen=True)
class Spell:
    """Answered probes of one address in a row, all answered by the same host; the first and the last one's time."""

    address: str
    first_ns: int
    last_ns: int
    probes: int
    host: int


@dataclass(frozen=True)
class Delivered:
    """What the client saw.

    `late` answers came after the patience, `doubled` ones were the second for a probe. `unsent` probes are the client's
    own fault and lost; `skipped` ones were never made, because the client was not run for a while (`pause_ns` at most).
    """

    sent: int
    answered: int
    lost: int
    late: int
    doubled: int
    skipped: int
    unsent: int
    pause_ns: int
    outages: tuple[Outage, ...]
    spells: tuple[Spell, ...]

    def since(self, moment_ns: int) -> tuple[Outage, ...]:
        """The outages that began at this moment or later, in the order in which they began."""
        found = (outage for outage in self.outages if outage.began_ns >= moment_ns)
        return tuple(sorted(found, key=lambda outage: outage.began_ns))

    def longest_ms(self, moment_ns: int = 0) -> float:
        """The longest outage since then; 0 without any."""
        return max((outage.ms for outage in self.since(moment_ns)), default=0.0)

    def moved(self, moment_ns: int, *, host: int) -> Mapping[str, float]:
        """For each address that this host answered until then, after how many ms another answered a probe first.

        Infinite for one that no other answered.
        """
        taken = {}
        for address, spells in self._by_address.items():
            before = [spell for spell in spells if spell.first_ns < moment_ns]
            if before and before[-1].host == host:
                other = (spell.first_ns for spell in spells if spell.first_ns >= moment_ns and spell.host != host)
                taken[address] = (next(other, float("inf")) - moment_ns) / 1e6
        return taken

    def hosts(self, address: str) -> tuple[int, ...]:
        """Who answered for it, one after the other."""
        return tuple(spell.host for spell in self._by_address.get(address, ()))

    @cached_property
    def _by_address(self) -> dict[str, list[Spell]]:
        found: dict[str, list[Spell]] = defaultdict(list)
        for spell in sorted(self.spells, key=lambda spell: spell.first_ns):
            found[spell.address].append(spell)
        return dict(found)


@dataclass(frozen=True)
class Event:
    """What a running client tells: `lost` and `back` bound an outage, `host` is another one answering than before."""

    event: Literal["lost", "back", "host"]
    address: str
    at_ns: int
    host: int
    began_ns: int = 0

    @property
    def outage_ms(self) -> float:
        """Of `back`: how long it had been away."""
        return (self.at_ns - self.began_ns) / 1e6


class _Running:
    """A program of this folder: it says `ready`, and when it is ended one line of JSON."""

    def __init__(self, process: Process) -> None:
        """Not for callers, see `start`."""
        self.process = process
        process.wait_for_line("^ready$", 10)

    def _end(self) -> dict[str, Any]:
        self.process.signal(signal.SIGTERM)
        found: dict[str, Any] = json.loads(self.process.wait_for_line(_JSON, 20).group())
        self.process.wait()
        if found.pop("forgotten"):
            raise OverflowError(f"{self.process.command[0]} saw more than it could keep")
        return found

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, if nobody has."""
        self.process.close()


class Traffic(_Running):
    """A client's probes under way."""

    @classmethod
    def start(
        cls,
        client: Host,
        addresses: Sequence[str],
        *,
        every_s: float | None = None,
        patience_s: float = PATIENCE_S,
        live: bool = False,
    ) -> Self:
        """Probe each of the addresses every `every_s` (as often as is reasonable) from this host, until stopped."""
        every_s = every_s or max(EVERY_S, len(addresses) / PROBES_PER_S)
        options = {
            "addresses": ",".join(addresses), "port": PORT, "live": int(live),
            "every_ns": round(every_s * 1e9), "patience_ns": round(patience_s * 1e9),
        }  # fmt: skip
        return cls(
            client.spawn([compiled("traffic/client.c"), *(f"{name}={value}" for name, value in options.items())])
        )

    def events(self, after: int = 0) -> list[Event]:
        """What happened so far, without the first `after` events. Only if started `live`."""
        lines = [line for line in self.process.lines if line.startswith('{"event"')]
        return [Event(**json.loads(line)) for line in lines[after:]]

    def wait_answered(self, address: str, *, host: int | None = None, deadline_s: float = 10.0) -> int:
        """Wait until a host, or this host, begins to answer for the address; its number. Only if started `live`."""
        number = r"[0-9]+" if host is None else str(host)
        pattern = rf'^\{{"event": "host", "address": "{re.escape(address)}", .*"host": ({number})\}}$'
        return int(self.process.wait_for_line(pattern, deadline_s).group(1))

    def stop(self) -> Delivered:
        """End it, wait for what is under way, and return what came of it."""
        said = self._end()
        outages, spells = said.pop("outages"), said.pop("spells")
        return Delivered(
            **said,
            outages=tuple(Outage(*outage) for outage in outages),
            spells=tuple(Spell(*spell) for spell in spells),
        )


@dataclass(frozen=True)
class Claim:
    """A time in which one hardware address answered for, or announced, an address again and again."""

    address: str
    mac: Mac
    first_ns: int
    last_ns: int
    replies: int
    announcements: int


@dataclass(frozen=True)
class Heard:
    """What the witness heard; `unread` frames were lost on the way to it."""

    asked: int
    unread: int
    claims: tuple[Claim, ...]

    def owners(self, address: str, moment_ns: int = 0) -> tuple[Mac, ...]:
        """Who claimed it at this moment or later, in the order of their first claim."""
        claims = sorted((one for one in self.claims if one.address == address), key=lambda one: one.first_ns)
        return tuple(dict.fromkeys(claim.mac for claim in claims if claim.last_ns >= moment_ns))

    def disputed_ms(self, moment_ns: int = 0) -> Mapping[str, float]:
        """For each address that two claimed at once at this moment or later: from the first such claim to the last."""
        by_address: dict[str, list[Claim]] = defaultdict(list)
        for claim in self.claims:
            by_address[claim.address].append(claim)
        found = {}
        for address, claims in by_address.items():
            common = [
                (max(one.first_ns, other.first_ns, moment_ns), min(one.last_ns, other.last_ns))
                for one, other in combinations(claims, 2)
                if one.mac != other.mac
            ]
            if overlaps := [(begin, end) for begin, end in common if begin < end]:
                found[address] = (max(end for _, end in overlaps) - min(begin for begin, _ in overlaps)) / 1e6
        return found


class Witness(_Running):
    """Asks a segment who has these addresses, under way."""

    @classmethod
    def start(cls, link: Link, addresses: Iterable[str], *, every_s: float | None = None) -> Self:
        """Ask for each address every `every_s` (10 ms, or as often as makes 10 000 questions a second).

        Whoever misses one question, or two, still claims the address; whoever misses more has left it.
        """
        asker_4 = next(found.ip for found in link.addresses() if found.version == 4)
        questions = {
            address: Solicitation.ask(link.mac, link.link_local, address)
            if ":" in address
            else Arp.request(link.mac, asker_4, address)
            for address in addresses
        }
        every_s = every_s or max(0.01, len(questions) / 10_000)
        path = link.host.lab.directory / f"questions-{link.index}"
        path.write_text("".join(f"{address} {frame.encode().hex()}\n" for address, frame in questions.items()))
        options = {
            "interface": link.name, "questions": path, "every_ns": round(every_s * 1e9),
            "gap_ns": round(max(0.1, 3.5 * every_s) * 1e9),
        }  # fmt: skip
        return cls(link.host.spawn(_command("witness", options)))

    def stop(self) -> Heard:
        """End it and return what it heard."""
        said = self._end()
        claims = (Claim(address, Mac(mac), *rest) for address, mac, *rest in said.pop("spells"))
        return Heard(**said, claims=tuple(claims))
