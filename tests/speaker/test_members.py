"""Whom a speaker looks for."""

from __future__ import annotations

import pytest

from cluster.resources import Metadata, Node, NodeAddress, NodeStatus, Pod, PodAddress, PodStatus
from speaker.members import of_nodes, of_pods, others


def test_pods_that_run_and_have_an_address() -> None:
    pods = [
        Pod(Metadata("both"), status=PodStatus("Running", "10.0.0.1", (PodAddress("10.0.0.1"), PodAddress("fd00::1")))),
        Pod(Metadata("starting"), status=PodStatus("Pending")),
        Pod(Metadata("ended"), status=PodStatus("Failed", "10.0.0.2")),
    ]
    assert of_pods(pods) == {"10.0.0.1", "fd00::1"}


def test_nodes_by_their_own_network() -> None:
    addresses = (
        NodeAddress("Hostname", "a"),
        NodeAddress("InternalIP", "10.0.0.1"),
        NodeAddress("ExternalIP", "1.1.1.1"),
    )
    assert of_nodes([Node(Metadata("a"), status=NodeStatus(addresses))]) == {"10.0.0.1"}


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ("10.0.0.1", ("10.0.0.2", "10.0.0.10")),
        ("fd00::1", ("fd00::2",)),
        ("10.0.0.9", ("10.0.0.1", "10.0.0.2", "10.0.0.10")),
    ],
)
def test_others_are_of_our_family(own: str, found: tuple[str, ...]) -> None:
    assert others(["10.0.0.10", "10.0.0.2", "10.0.0.1", "fd00::2", "fd00:0::1", "nonsense"], own) == found
