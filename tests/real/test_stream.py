"""Streams and scales: what other traffic is measured by."""

import json

import pytest

from lab import Lab, Link, peers
from lab.native import compiled
from lab.traffic.stream import Protocol, stream


@pytest.fixture
def link(lab: Lab) -> Link:
    return lab.host("sender").link(
        lab.host("receiver"), addresses=["198.51.100.1/24", "2001:db8::1/64"],
        peer_addresses=["198.51.100.2/24", "2001:db8::2/64"],
    )  # fmt: skip


@pytest.mark.parametrize("address", ["198.51.100.2", "2001:db8::2"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_stream_arrives(link: Link, address: str, protocol: Protocol) -> None:
    assert link.peer
    came = stream(link.host, link.peer.host, address, protocol, seconds=0.2)
    assert came.packets > 0
    assert came.seconds > 0
    assert came.bytes == 18 * came.packets if protocol == "udp" else came.bytes > came.packets


def test_only_what_is_attached_is_weighed(link: Link) -> None:
    assert link.peer
    command = [str(compiled("generator/weigh.c")), f"interface={link.peer.name}", f"frame={'00' * 60}", "repeat=1000"]
    assert json.loads(link.peer.host.run(command).stdout) == {}
    peers.attach(link.peer, "pass")
    assert list(json.loads(link.peer.host.run(command).stdout)) == ["xdp"]
