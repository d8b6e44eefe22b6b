"""That the peers answer at all, before anything is measured against them."""

from collections.abc import Callable

import pytest

from lab import Lab, Process, peers
from lab.generator import Flood, time_lone


@pytest.mark.parametrize(
    ("start", "prefix", "asked", "other"),
    [
        (peers.kernel, "198.51.100.128/25", "198.51.100.200", "198.51.100.2"),
        (peers.kernel, "2001:db8:1::100/124", "2001:db8:1::107", "2001:db8:1::77"),
        (peers.cloop, "198.51.100.0/24", "198.51.100.200", "198.51.101.1"),
        (peers.cloop, "2001:db8:1::/112", "2001:db8:1::99", "2001:db8:1::1:1"),
        (peers.farpd, "198.51.100.128/25", "198.51.100.200", "198.51.100.2"),
        (peers.ndppd, "2001:db8:1::100/120", "2001:db8:1::177", "2001:db8:1::77"),
        (peers.goresponder, "198.51.100.0/24", "198.51.100.200", "198.51.101.1"),
        (peers.goresponder, "2001:db8:1::100/124", "2001:db8:1::107", "2001:db8:1::77"),
    ],
)
def test_a_peer_answers_for_its_prefix_and_no_more(
    lab: Lab, start: Callable[..., Process | None], prefix: str, asked: str, other: str
) -> None:
    asker = lab.host()
    near = asker.link(
        lab.host(),
        addresses=["198.51.100.1/16", "2001:db8::1/16"],
        peer_addresses=["198.51.100.3/16", "2001:db8::3/16"],
    )
    assert near.peer
    process = start(near.peer, prefix)
    for family in ("ipv4", "ipv6"):
        asker.set({f"net.{family}.neigh.eth0.mcast_solicit": 12, f"net.{family}.neigh.eth0.retrans_time_ms": 700})
    assert asker.resolve(asked, deadline_s=10) == near.peer.mac
    for family in ("ipv4", "ipv6"):
        asker.set({f"net.{family}.neigh.eth0.mcast_solicit": 1, f"net.{family}.neigh.eth0.retrans_time_ms": 50})
    assert asker.resolve(other) is None
    assert process is None or process.alive


@pytest.mark.parametrize("first", ["198.51.100.0", "2001:db8::1:fe80"])
@pytest.mark.parametrize("generic", [False, True])
def test_the_reflector_sends_every_question_back(lab: Lab, first: str, generic: bool) -> None:
    near = lab.host().link(lab.host())
    assert near.peer
    reflector = peers.reflector(near.peer, generic=generic)
    flooded = Flood.start(
        near, first, 512, rate_per_s=4000, seconds=0.25, count_arrivals=False, engine="socket" if generic else "xdp"
    ).wait()
    assert flooded.replies == flooded.offered > 0
    passing = peers.attach(near, "pass")
    assert time_lone(near, first, 512, asks=20, interval_s=0.0005).answered == 20
    reflector.kill()
    assert time_lone(near, first, asks=1).answered == 0
    assert passing.alive
