"""What is announced by BGP, made by hand, in few words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.config import BGPAdvertisement, Config, Peer
from tests.speaker.cluster_of import NODES, pool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.config import BFDProfile, Pool


def peer(name: str = "tor", nodes: Iterable[str] = NODES, **fields: Any) -> Peer:
    given: dict[str, Any] = {"my_asn": 64512, "asn": 64513, "address": "198.51.100.1", "dual_stack": True}
    return Peer(name=name, nodes=frozenset(nodes), **(given | fields))


def bgp(name: str = "bgp", nodes: Iterable[str] = NODES, pools: Iterable[str] = ("pool",), **fields: Any
        ) -> BGPAdvertisement:  # fmt: skip
    if peers := fields.pop("peers", None):
        fields["peers"] = frozenset(peers)
    return BGPAdvertisement(name=name, pools=frozenset(pools), nodes=frozenset(nodes), **fields)


def config(*ads: BGPAdvertisement, peers: Iterable[Peer] | None = None, pools: Iterable[Pool] = (),
           profiles: Iterable[BFDProfile] = ()) -> Config:  # fmt: skip
    return Config(
        pools={each.name: each for each in pools or (pool(),)},
        bgp_advertisements=ads,
        peers=tuple((peer(),) if peers is None else peers),
        bfd_profiles={each.name: each for each in profiles},
    )
