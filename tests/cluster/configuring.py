"""Custom resources as a person writes them, and what is said of them."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from cluster import custom
from cluster.config import Config
from cluster.parse import Parsed, parse
from cluster.resources import Object, Secret

NAMESPACE = "metallb-system"
NODES = {"n1": {"rack": "a", "kubernetes.io/hostname": "n1"}, "n2": {"rack": "b"}, "n3": {"rack": "b", "disk": "ssd"}}
NAMESPACES = {"shop": {"team": "web"}, "bank": {"team": "money"}}

T = TypeVar("T", bound=Object)


def _made(kind: type[T], name: str, spec: dict[str, Any], labels: dict[str, str] | None = None) -> T:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels or {}}
    return msgspec.convert({"metadata": metadata, "spec": spec}, kind)


def pool(
    name: str = "main", *addresses: str, labels: dict[str, str] | None = None, **spec: Any
) -> custom.IPAddressPool:
    return _made(custom.IPAddressPool, name, {"addresses": addresses, **spec}, labels)


def l2(name: str = "l2", **spec: Any) -> custom.L2Advertisement:
    return _made(custom.L2Advertisement, name, spec)


def bgp(name: str = "bgp", **spec: Any) -> custom.BGPAdvertisement:
    return _made(custom.BGPAdvertisement, name, spec)


def peer(name: str = "tor", **spec: Any) -> custom.BGPPeer:
    """A good one, but for what is said."""
    good = {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}
    return _made(custom.BGPPeer, name, {key: value for key, value in {**good, **spec}.items() if value is not None})


def bfd(name: str = "quick", **spec: Any) -> custom.BFDProfile:
    return _made(custom.BFDProfile, name, spec)


def community(name: str = "names", **aliases: str) -> custom.Community:
    written = [{"name": alias.replace("_", "-"), "value": value} for alias, value in aliases.items()]
    return _made(custom.Community, name, {"communities": written})


def secret(name: str, kind: str = "kubernetes.io/basic-auth", **data: str) -> Secret:
    metadata = {"name": name, "namespace": NAMESPACE}
    return msgspec.convert({"metadata": metadata, "type": kind, "data": data}, Secret)


def parsed(*written: Object, secrets: tuple[Secret, ...] = (), last: Config | None = None, node: str = "") -> Parsed:
    """What becomes of these objects, in a cluster of `NODES` and `NAMESPACES`; at `node`, if that is said."""
    kinds: dict[type[Object], list[Any]] = {}
    for one in written:
        kinds.setdefault(type(one), []).append(one)
    objects = custom.Objects(
        pools=tuple(kinds.get(custom.IPAddressPool, ())),
        l2_advertisements=tuple(kinds.get(custom.L2Advertisement, ())),
        bgp_advertisements=tuple(kinds.get(custom.BGPAdvertisement, ())),
        peers=tuple(kinds.get(custom.BGPPeer, ())),
        bfd_profiles=tuple(kinds.get(custom.BFDProfile, ())),
        communities=tuple(kinds.get(custom.Community, ())),
    )
    known = {each.metadata.name: each for each in secrets}
    return parse(objects, NODES, NAMESPACES, known, last or Config(), node)


def told(*written: Object, secrets: tuple[Secret, ...] = ()) -> list[str]:
    """The problems, each as the field and what was expected there; `(T)`: transient."""
    found = parsed(*written, secrets=secrets).problems
    return [f"{each.field}: {each.expected}{' (T)' if each.transient else ''}" for each in found]
