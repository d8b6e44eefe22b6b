"""Whom to look for: the addresses of the other speakers, by their Pods or by the Nodes. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.resources import Node, Pod

ENDED = frozenset({"Succeeded", "Failed"})


def of_pods(pods: Iterable[Pod]) -> frozenset[str]:
    """Where Pods are reached that have an address and have not ended."""
    there = [pod.status for pod in pods if pod.status.phase not in ENDED]
    return frozenset(
        address for status in there for address in (status.pod_ip, *(each.ip for each in status.pod_ips)) if address
    )


def of_nodes(nodes: Iterable[Node]) -> frozenset[str]:
    """Where Nodes reach each other."""
    return frozenset(each.address for node in nodes for each in node.status.addresses if each.type == "InternalIP")


def others(addresses: Iterable[str], own: str) -> tuple[str, ...]:
    """Those of our own address's family, without it; what is no address is passed over."""
    ours = ip_address(own)
    found = set()
    for text in addresses:
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if address.version == ours.version and address != ours:
            found.add(address)
    return tuple(map(str, sorted(found, key=int)))
