"""`make demo-bgp`: Services of a real cluster are announced by BGP, a router spreads connections, and a node dies.

As in `demo_kubernetes` all is real but the Pods: the API server, the controller and a speaker for each of three nodes,
with gobgpd beside it, kube-proxy, and FRR as the nodes' router, which knows nothing of them but what BGP tells it. BFD
looks every 100 ms, and has missed a node after three times. Ends by itself and leaves nothing behind.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lab import demo_kubernetes, pods
from lab.fabric import FRR_ASN, NODES_ASN, Fabric
from lab.live import Live
from lab.member import ARPFAST
from lab.network import Lab
from lab.playing import chapter, perform
from lab.pods import DEADLINE_S, custom
from lab.programs import GOBGPD
from lab.traffic import Traffic
from lab.waiting import wait_until
from speaker.bgp.supervising import FLAGS

if TYPE_CHECKING:
    from rich.console import Console

    from lab.cluster import Cluster, Node
    from lab.host import Host
    from lab.process import Process

CONNECTIONS = 3000
BFD_MS = 100
SERVICES = [f"web-{number}" for number in range(1, 13)]


class Speaker(pods.Speaker):
    """The same with gobgpd beside it."""

    def __init__(self, cluster: Cluster, node: Node, key: bytes) -> None:
        """As there."""
        self.socket = cluster.lab.directory / f"gobgpd-{node.name}.sock"
        super().__init__(cluster, node, key, "--gobgp", str(self.socket))
        self.gobgpd: Process

    def begin(self) -> None:
        """Start both, and do not wait."""
        self.socket.unlink(missing_ok=True)
        api = f"--api-hosts=unix://{self.socket}"
        self.gobgpd = self.node.host.spawn([GOBGPD.path(), api, *FLAGS])
        super().begin()


class Piece(demo_kubernetes.Piece):
    """The same, and a router."""

    def __init__(self, lab: Lab, console: Console) -> None:
        """Start everything, but the Services."""
        super().__init__(lab, console)
        self.fabric = Fabric(self.ring)
        self.router = self.fabric.frr
        self.router.start(self.fabric.nodes(bfd_ms=BFD_MS))

    def speaker(self, node: Node, key: bytes) -> Speaker:
        """The one with gobgpd."""
        return Speaker(self.cluster, node, key)

    def serve(self) -> None:
        """Say what there is to announce to whom, and wait until the router has it all."""
        api = self.control.api
        interval = {"receiveInterval": BFD_MS, "transmitInterval": BFD_MS, "detectMultiplier": 3}
        api.create(custom("IPAddressPool", "demo", {"addresses": ["203.0.113.100-203.0.113.120"]}))
        api.create(custom("BFDProfile", "demo", interval))
        place = {"peerAddress": self.fabric.address(self.router), "peerASN": FRR_ASN, "myASN": NODES_ASN}
        peer = custom("BGPPeer", "demo", place | {"bfdProfile": "demo"})
        api.create(peer | {"apiVersion": "metallb.io/v1beta2"})
        api.create(custom("BGPAdvertisement", "demo", {}))
        self.assign(SERVICES)
        self.wait_whole()

    def wait_whole(self) -> None:
        """Wait until the router sends to every node for every address, and BFD looks at all of them."""
        everybody = {self.fabric.node(host) for host in self.ring.hosts}

        def whole() -> bool:
            return all(self.router.kernel_next_hops(address) == everybody for address in self.ring.addresses)

        self.router.wait_steady()
        wait_until(whole, DEADLINE_S, what="the router to have every way", every_ms=50)

    def spread(self) -> None:
        """Open many connections, and show how many of them each node had."""
        address = self.ring.addresses[0]
        self.console.print(f"A client opens {CONNECTIONS} connections to {address}:", style="bold")
        shares = self.cluster.shares(address, CONNECTIONS)
        for node in self.cluster.nodes:
            self.console.print(f"  node-{node.name} share {100 * shares[node.name] / CONNECTIONS:.1f} %")
        if shares[""]:
            self.console.print(f"  nobody answered {shares['']} of them")

    def busiest(self, traffic: Traffic) -> Host:
        """The node that answers the first address now."""
        return self.ring.at(traffic.wait_answered(self.ring.addresses[0]))


def play(console: Console) -> None:
    """The whole piece."""
    with Lab() as lab:
        told = (
            "A real API server, three nodes with kube-proxy, our controller, speakers and gobgpd, and FRR before them:"
        )
        console.print(told, style="bold")
        piece = Piece(lab, console)
        piece.serve()
        ring, router = piece.ring, piece.router
        piece.kubectl("get", "services")
        told = "show bgp ipv4 unicast summary"
        piece.show(f"router$ vtysh -c '{told}'", router.host, *router.command(told))
        piece.cluster.wait_answer(ring.addresses[0])
        piece.spread()
        with Traffic.start(ring.client, ring.addresses, live=True) as traffic, Live(ring, traffic, console) as live:
            live.wait_calm(deadline_s=DEADLINE_S)

            host = piece.busiest(traffic)
            with chapter(live, f"node-{host.name} dies: it says nothing any more, and BFD notices", lambda: None):
                ring.freeze(host)
                router.wait_down(piece.fabric.node(host))
            piece.spread()
            ring.thaw(host)
            piece.wait_whole()

            host = piece.busiest(traffic)
            speaker = piece.speakers[host]
            with chapter(live, f"node-{host.name} is drained: routers look for other ways first", lambda: None):
                host.run([ARPFAST, "drain", "--control", speaker.control], timeout_s=DEADLINE_S)
                wait_until(
                    lambda: piece.fabric.node(host) not in router.kernel_next_hops(ring.addresses[0]),
                    DEADLINE_S, what="the router to avoid the drained node", every_ms=20,
                )  # fmt: skip
            piece.show(f"{host.name}$ arpfast status", host, ARPFAST, "status", "--control", speaker.control)


if __name__ == "__main__":
    sys.exit(perform(play))
