"""`make demo-kubernetes`: Services of a real cluster get addresses, their owner dies, and a client keeps count.

Real are the API server with etcd behind it, what `deploy/kubernetes` has for it, the controller and a speaker for each
of three nodes with just the rights of their ServiceAccounts, and kube-proxy on each. Nobody runs Pods: the two are
started here as the manifests say, and what is behind the Services is a small program on each node. The Services ask for
`externalTrafficPolicy: Local`: the client is answered by the node that owns the address. Ends by itself and leaves
nothing behind.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from lab import manifests
from lab.cluster import Cluster
from lab.control_plane import ControlPlane
from lab.live import Live
from lab.member import ARPFAST
from lab.network import Lab
from lab.playing import chapter, perform
from lab.pods import DEADLINE_S, Speaker, begin_controller, custom, ring_key
from lab.programs import KUBECTL
from lab.ring import Cut
from lab.traffic import Traffic
from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from lab.cluster import Node
    from lab.host import Host

SERVICES = [f"web-{number}" for number in range(1, 7)]


class Piece:
    """The cluster and what runs in it."""

    def __init__(self, lab: Lab, console: Console) -> None:
        """Start everything, but the Services."""
        self.console = console
        self.control = ControlPlane(lab)
        manifests.install(self.control.api)
        self.cluster = Cluster(lab, self.control)
        self.ring = self.cluster.ring
        self.controller = begin_controller(self.control)
        key = ring_key(self.control, self.controller)
        self.speakers = {node.host: self.speaker(node, key) for node in self.cluster.nodes}
        for speaker in self.speakers.values():
            speaker.begin()
        for speaker in self.speakers.values():
            speaker.process.wait_for_line('"started"', DEADLINE_S)
        for node in self.cluster.nodes:
            self.cluster.pod(f"web-{node.name}", node)

    def speaker(self, node: Node, key: bytes) -> Speaker:
        """What is to announce there."""
        return Speaker(self.cluster, node, key)

    def serve(self) -> None:
        """Make a pool that is announced, and Services."""
        api = self.control.api
        api.create(custom("IPAddressPool", "demo", {"addresses": ["192.0.2.100-192.0.2.120"]}))
        api.create(custom("L2Advertisement", "demo", {"interfaces": ["eth0"]}))
        self.assign(SERVICES)

    def assign(self, names: Sequence[str]) -> None:
        """Make Services of these names, and wait until each has an address."""
        for name in names:
            self.cluster.service(name, externalTrafficPolicy="Local")

        def addresses() -> list[str]:
            assert self.controller.alive, self.controller.output
            found = [address for name in names for address in self.cluster.ingress(name)]
            return found if len(found) == len(names) else []

        self.ring.addresses = tuple(
            wait_until(addresses, DEADLINE_S, what="every Service to have an address", every_ms=50)
        )

    def owner(self) -> Host:
        """Who has the first address."""
        return self.ring.wait_owner(self.ring.addresses[0], deadline_s=DEADLINE_S)

    def show(self, told: str, host: Host, *command: str | Path) -> None:
        """Run a command, showing both what it is and what it says."""
        self.console.print(told, style="dim")
        for line in host.run([*command], timeout_s=DEADLINE_S).stdout.rstrip().splitlines():
            self.console.print(f"  {line.rstrip()}", markup=False, soft_wrap=True)

    def kubectl(self, *words: str) -> None:
        """Show what kubectl says."""
        config = self.control.kubeconfig("admin")
        self.show(f"$ kubectl {' '.join(words)}", self.control.host, KUBECTL.path(), "--kubeconfig", config, *words)

    def wait_shared(self) -> None:
        """Wait until everybody has what the election gives it again: the same owners as at first."""
        wait_until(lambda: self.ring.owners() == self.first, DEADLINE_S, what="the first owners again", every_ms=50)

    def settle(self) -> None:
        """Remember who owns what while all is well."""
        for address in self.ring.addresses:
            self.ring.wait_owner(address, deadline_s=DEADLINE_S)
        self.first = self.ring.owners()


def play(console: Console) -> None:
    """The whole piece."""
    with Lab() as lab:
        console.print("A real API server, three nodes with kube-proxy, our controller and speakers:", style="bold")
        piece = Piece(lab, console)
        piece.serve()
        piece.kubectl("get", "nodes")
        piece.kubectl("get", "services")
        ring, address = piece.ring, piece.ring.addresses[0]
        answer = piece.cluster.wait_answer(address)
        console.print(f"A client asks {address} by TCP: {answer.node} answers, and was asked by {answer.asker}.")
        with Traffic.start(ring.client, ring.addresses, live=True) as traffic, Live(ring, traffic, console) as live:
            live.wait_calm(deadline_s=DEADLINE_S)
            piece.settle()

            host = piece.owner()
            with chapter(live, f"The cable of {host.name} is cut", ring.heal):
                ring.cut(host, Cut.SWITCH)
            piece.wait_shared()

            host = piece.owner()
            with chapter(live, f"The speaker of {host.name} is killed: another answers", piece.speakers[host].start):
                piece.speakers[host].process.kill()
                wait_until(lambda: piece.owner() is not host, DEADLINE_S, what="another owner", every_ms=20)
            piece.wait_shared()

            host = piece.owner()
            with chapter(live, f"The speaker of {host.name} is told to stop (SIGTERM), and hands over first",
                         piece.speakers[host].start):  # fmt: skip
                piece.speakers[host].process.signal(signal.SIGTERM)
                piece.speakers[host].process.wait(DEADLINE_S)
            piece.wait_shared()

            host = piece.owner()
            with chapter(live, f"The API server is killed, and then the cable of {host.name} is cut", ring.heal):
                piece.control.kill_apiserver()
                ring.cut(host, Cut.SWITCH)
            piece.control.start_apiserver()
            piece.wait_shared()

            host = piece.owner()
            words = ["explain", "-n", "default", SERVICES[0]]
            told = f"{host.name}$ arpfast {' '.join(words)}"
            piece.show(told, host, ARPFAST, *words, "--control", piece.speakers[host].control)


if __name__ == "__main__":
    sys.exit(perform(play))
