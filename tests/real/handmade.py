"""Speakers on the stage for failover, and a cluster made by hand: each is told in a line what the cluster is now.

All of the speaker is real but for what follows the API server. A line is JSON: objects as Kubernetes has them, and the
rest as `cluster.world` and `cluster.config` do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from arpfast.control import Client, Request
from lab import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lab import Host
    from lab.ring import Ring

DEADLINE_S = 45.0
"""Generous: a loaded machine of two cores must not fail a test that waits for what surely comes."""

PROGRAM = """
import asyncio, json, os, sys
import msgspec
from arpfast.spans import Span
from cluster.config import Config, L2Advertisement, Pool
from cluster.resources import Key, Node, Service
from cluster.world import Change, Serving, World
from speaker.settings import Settings
from speaker.starting import CannotStart, run

class Line(msgspec.Struct):
    services: list[Service]
    serving: dict[str, Serving]
    nodes: list[Node]
    pools: dict[str, list[str]]
    l2_advertisements: tuple[L2Advertisement, ...]
    members: list[str]

def key(text):
    return Key(*text.split("/"))

class Handmade:
    def __init__(self, settings, log):
        self.waiting = bytearray()
        self.before = {}

    async def run(self, speaker):
        asyncio.get_running_loop().add_reader(0, self.read, speaker)
        await asyncio.get_running_loop().create_future()

    def read(self, speaker):
        self.waiting += os.read(0, 1 << 20)
        while b"\\n" in self.waiting:
            line, _, self.waiting = self.waiting.partition(b"\\n")
            now = msgspec.json.decode(line, type=Line)
            pools = {name: Pool(name=name, spans=tuple(map(Span.parse, spans))) for name, spans in now.pools.items()}
            config = Config(pools=pools, l2_advertisements=now.l2_advertisements)
            world = World(
                {service.key: service for service in now.services},
                {key(name): serving for name, serving in now.serving.items()},
                {node.metadata.name: node for node in now.nodes},
                config,
            )
            speaker.know(world, Change(config=True))
            speaker.seat.meet(now.members)

    def moved(self, lost, gained):
        print(json.dumps({"event": "moved", "lost": str(lost), "gained": str(gained)}), flush=True)

    def announced(self, services):
        pass

    def numbers(self):
        return iter(())

try:
    run(msgspec.convert(json.loads(sys.argv[1]), Settings), Handmade)
except CannotStart as error:
    sys.exit(str(error))
"""


def service(name: str, *ips: str, local: bool = False, **metadata: Any) -> dict[str, Any]:
    """A Service of type LoadBalancer in the namespace `shop`."""
    return {
        "metadata": {"name": name, "namespace": "shop", **metadata},
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local" if local else "Cluster"},
        "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips]}},
    }


def ad(nodes: Iterable[str], **fields: Any) -> dict[str, Any]:
    """An L2Advertisement for these nodes."""
    return {"name": "ad", "pools": ["pool"], "nodes": list(nodes), **fields}


class Speaker:
    """One of them; `start` it."""

    def __init__(self, ring: Ring, host: Host, **settings: Any) -> None:
        """`settings` replace fields of `speaker.settings.Settings`."""
        self.host, self.name = host, host.name
        self.control = ring.lab.directory / f"speaker-{host.name}.sock"
        self.settings = {
            "node": host.name,
            "address": ring.gossip_address(host),
            "choice": {"patterns": ["eth0"]},
            "control": str(self.control),
            "log_format": "json",
            **settings,
        }
        self._write = -1

    def start(self) -> None:
        """Start it, and wait until it says so."""
        self.close()
        read, self._write = os.pipe()
        arguments = [sys.executable, "-P", "-c", PROGRAM, json.dumps(self.settings)]
        self.process = self.host.spawn(arguments, stdin=read)
        os.close(read)
        self.process.wait_for_line('"started"', DEADLINE_S)

    def close(self) -> None:
        """Let go of what it is told by."""
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    def tell(self, line: Mapping[str, Any]) -> None:
        """Say what the cluster is now."""
        os.write(self._write, json.dumps(line).encode() + b"\n")

    def stop(self) -> None:
        """As Kubernetes does."""
        self.process.signal(signal.SIGTERM)
        self.process.wait(DEADLINE_S)

    def ask(self, command: str, address: str = "", namespace: str = "") -> Any:
        """What its control socket says. Raises Refused and Unreachable."""
        given = {"command": command, "address": address, "namespace": namespace}
        with Client(str(self.control)) as client:
            return client.ask(msgspec.convert(given, Request))

    def run(self, *arguments: str) -> str:
        """Run `arpfast` against it; what it says."""
        arpfast = Path(sys.executable).with_name("arpfast")
        return self.host.run([arpfast, *arguments, "--control", self.control], timeout_s=DEADLINE_S).stdout


class Speakers:
    """One on every host of the ring, and what they are told."""

    def __init__(self, ring: Ring, **settings: Any) -> None:
        """`settings` are the same on all."""
        self.ring = ring
        self.all = [Speaker(ring, host, **settings) for host in ring.hosts]
        self.names = [speaker.name for speaker in self.all]
        self.told: dict[str, Any] = {}

    def __enter__(self) -> Self:
        for speaker in self.all:
            speaker.start()
        return self

    def __exit__(self, *_: object) -> None:
        for speaker in self.all:
            speaker.close()

    def line(
        self,
        services: Sequence[Mapping[str, Any]],
        *,
        served: Mapping[str, Sequence[str]] | None = None,
        nodes: Sequence[Mapping[str, Any]] = (),
        ads: Sequence[Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """The cluster with these Services; without more, all are served everywhere, and announced by everybody."""
        names = [each["metadata"]["name"] for each in services]
        where = {name: self.names if served is None else served.get(name, []) for name in names}
        given = {each["metadata"]["name"]: each for each in nodes}
        return {
            "services": services,
            "serving": {f"shop/{name}": {"anywhere": bool(on), "nodes": on} for name, on in where.items()},
            "nodes": [given.get(name, {"metadata": {"name": name}}) for name in self.names],
            "pools": {"pool": ["192.0.2.0/24", "198.18.0.0/16", "2001:db8::/64"]},
            "l2_advertisements": [ad(self.names)] if ads is None else ads,
            "members": [self.ring.gossip_address(host) for host in self.ring.hosts],
        }

    def tell(self, services: Sequence[Mapping[str, Any]], **fields: Any) -> None:
        """Tell all the same."""
        self.told = self.line(services, **fields)
        for speaker in self.all:
            speaker.tell(self.told)

    def wait_other(self, address: str, name: str) -> Speaker:
        """Wait until all say that one owns the address who is not that one; who."""

        def said() -> Speaker | None:
            rings = {speaker.name: speaker.ask("explain", address)["ring"] for speaker in self.all}
            ours = [speaker for speaker in self.all if rings[speaker.name]["ours"]]
            if len(ours) != 1 or {ring["owner"] for ring in rings.values()} != {ours[0].name}:
                return None
            return ours[0] if ours[0].name != name else None

        other = wait_until(said, DEADLINE_S, what=f"{address} to be another's than {name}'s", every_ms=20)
        assert other
        return other

    def wait_owner(self, address: str, name: str | None, present: Iterable[Speaker] | None = None) -> None:
        """Wait until all that are present say that this one owns the address, and it alone answers for it."""
        there = self.all if present is None else list(present)

        def said() -> bool:
            rings = {speaker.name: speaker.ask("explain", address)["ring"] for speaker in there}
            ours = [name for name, ring in rings.items() if ring["ours"]]
            return {ring["owner"] for ring in rings.values()} == {name} and ours == ([name] if name else [])

        wait_until(said, DEADLINE_S, what=f"{address} to be {name}'s", every_ms=20)
