"""What a speaker wishes for as the cluster changes, as it is drained and as it stops; in virtual time."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cluster.config import BFDProfile
from cluster.resources import Key
from cluster.world import Change, World
from speaker.bgp.numbers import labelled, numbers
from speaker.bgp.routing import ARRIVAL_S, GRACE_S, LOOK_S, Routing
from speaker.bgp.telling import address_told, service_told, status_told
from speaker.bgp.traffic import Traffic
from speaker.bgp.wish import Attributes, Neighbour, Session, Wish
from speaker.nodes import Rules
from tests.arpfast.virtual import passing, virtually
from tests.cluster.test_errands import Quiet
from tests.speaker.bgp_of import bgp, config, peer
from tests.speaker.cluster_of import NODES, key, node, service, serving, world
from tests.speaker.test_decide import at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.config import Config
    from cluster.resources import Key

ME = "iris1"
ALL, HERE = "10.20.30.1", "10.20.30.2"
BOTH = {f"{ALL}/32", f"{HERE}/32"}
UP = Session(peer="tor", address="198.51.100.1", state="established", since_unix_s=1.0, announced=1)


class Engine:
    """A daemon that does at once what it is told."""

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
        self.told: list[str] = []
        self.trouble = ""
        self.known: dict[str, Session] = {"tor": UP}

    def want(self, wish: Wish) -> None:
        self.wishes.append(wish)

    def interfaces(self, snapshot: object) -> None:
        self.told.append("interfaces")

    def drain(self, draining: bool = True) -> None:
        self.told.append("drain" if draining else "undrain")

    async def leave(self, *, withdraw: bool = False) -> None:
        self.told.append("withdraw" if withdraw else "leave")

    async def run(self) -> None:
        self.told.append("run")
        if self.told.count("run") < 3:
            raise LookupError("expected nobody to have thought of this")

    def sessions(self) -> Mapping[str, Session]:
        return self.known

    def traffic(self) -> Mapping[str, Traffic]:
        return {"tor": Traffic(updates_sent=3, keepalives_received=7)}


class Told:
    """A routing, its engine, and whom it told of what."""

    def __init__(self, *, daemon: bool = True) -> None:
        self.engine = Engine()
        self.lost: frozenset[str] = frozenset()
        self.changed: list[set[Key]] = []
        self.chosen = IPv4Address("198.51.100.7")
        self.routing = Routing(
            ME, Rules(avoid_cordoned=True), self.engine if daemon else None, namespace="metallb-system", log=Quiet(),
            lost=lambda: self.lost,
            changed=lambda keys: self.changed.append(set(keys)), chosen=lambda _: self.chosen,
        )  # fmt: skip

    def know(self, made: World, **change: Any) -> None:
        self.routing.know(made, Change(**change) if change else Change(config=True))

    @property
    def prefixes(self) -> set[str]:
        return set(self.engine.wishes[-1].routes)


def cluster(made: Config | None = None, **stands: Any) -> World:
    """One Service that is served everywhere, and one that only we serve."""
    services = [service("all", ALL), service("here", HERE, local=True)]
    served = {"all": serving(*NODES), "here": serving(ME)}
    return world(services, served, nodes=[node(ME, **stands)], config=made or config(bgp()))


def test_a_wish_is_told_whenever_it_is_another() -> None:
    async def main() -> None:
        told = Told()
        told.know(cluster())
        assert told.engine.wishes == [
            Wish({"tor": Neighbour(peer())}, {each: {"tor": Attributes()} for each in sorted(BOTH)})
        ]
        assert told.changed == [{key("all"), key("here")}]
        assert told.routing.told(key("all")) == {"tor"}
        told.know(cluster(), nodes=frozenset({ME}))
        assert len(told.engine.wishes) == 1
        told.know(world([service("all", ALL)], config=config(bgp())), services=frozenset({key("here")}))
        assert told.prefixes == {f"{ALL}/32"}
        assert told.routing.told(key("here")) == frozenset()

    virtually(main())


def test_a_first_wish_is_told_also_if_it_is_none() -> None:
    async def main() -> None:
        told = Told()
        told.know(world([], config=config(peers=[])))
        assert told.engine.wishes == [Wish()]

    virtually(main())


def test_who_is_drained_asks_to_be_avoided_then_gives_up_what_others_have() -> None:
    async def main() -> None:
        told = Told()
        told.know(cluster())
        told.routing.drain()
        await passing(GRACE_S / 2)
        assert (told.engine.told, told.prefixes) == (["drain"], BOTH)
        await passing(GRACE_S)
        assert told.prefixes == {f"{HERE}/32"}
        assert told.changed[-1] == {key("all"), key("here")}
        assert told.routing.told(key("all")) == frozenset()
        (row,) = address_told(told.routing, cluster(), at(ALL))
        assert (row["told"], row["why"]) == (False, "given up to other nodes, as this one is drained")
        told.routing.drain(undo=True)
        assert (told.engine.told[-1], told.prefixes) == ("undrain", BOTH)

    virtually(main())


def test_who_is_drained_counts_on_nobody_who_is_drained_or_gone() -> None:
    async def main() -> None:
        told = Told()
        told.know(cluster())
        told.lost = frozenset({"iris2"})
        told.routing.drain()
        await passing(2 * GRACE_S)
        assert told.prefixes == {f"{HERE}/32"}, "expected one node that is left to be enough"
        told.lost = frozenset({"iris2", "iris3"})
        await passing(2 * LOOK_S)
        assert told.prefixes == BOTH
        assert told.routing.told(key("all")) == {"tor"}
        told.lost = frozenset({"iris3"})
        await passing(2 * LOOK_S)
        assert told.prefixes == {f"{HERE}/32"}
        told.routing.drain(undo=True)
        told.lost = frozenset()
        count = len(told.engine.wishes)
        await passing(2 * GRACE_S)
        assert (len(told.engine.wishes), told.prefixes) == (count, BOTH)

    virtually(main())


def test_cordoned_is_drained_and_comes_back() -> None:
    async def main() -> None:
        told = Told()
        told.know(cluster())
        told.know(cluster(cordoned=True), nodes=frozenset({ME}))
        await passing(GRACE_S / 2)
        told.know(cluster(), nodes=frozenset({ME}))
        await passing(GRACE_S)
        assert (told.engine.told, told.prefixes) == (["drain", "undrain"], BOTH)
        told.know(cluster(cordoned=True), nodes=frozenset({ME}))
        await passing(2 * GRACE_S)
        assert told.prefixes == {f"{HERE}/32"}

    virtually(main())


def test_who_starts_on_a_cordoned_node_brings_nothing_back() -> None:
    async def main() -> None:
        told = Told()
        told.know(cluster(cordoned=True))
        assert (told.engine.told, [set(each.routes) for each in told.engine.wishes]) == (["drain"], [{f"{HERE}/32"}])

    virtually(main())


def test_the_last_node_in_good_order_takes_all_back() -> None:
    async def main() -> None:
        told = Told()
        told.know(cluster(cordoned=True))
        others = [node(name, cordoned=True) for name in NODES]
        made = msgspec.structs.replace(cluster(), nodes={each.metadata.name: each for each in others})
        told.know(made, nodes=frozenset(NODES))
        assert told.prefixes == BOTH

    virtually(main())


@pytest.mark.parametrize(
    ("restarts", "drained", "expected"),
    [
        (False, False, ["drain", "leave"]),
        (True, False, ["leave"]),
        (True, True, ["drain", "withdraw"]),
    ],
)
def test_who_stops(restarts: bool, drained: bool, expected: list[str]) -> None:
    async def main() -> None:
        told = Told()
        told.know(cluster(config(bgp(), peers=[peer(graceful_restart=restarts)])))
        if drained:
            told.routing.drain()
        await told.routing.leave()
        assert told.engine.told == expected

    virtually(main())


def test_without_a_daemon_the_peers_are_what_is_wrong() -> None:
    async def main() -> None:
        told = Told(daemon=False)
        made = cluster(config(bgp(), peers=[peer(), peer("far", nodes=["iris2"])]))
        told.know(made)
        (problem,) = told.routing.problems
        missing = "spec: expected a speaker that knows of GoBGP's daemon (--gobgp)"
        assert str(problem) == f"BGPPeer metallb-system/tor: {missing}, not '198.51.100.1'"
        assert (told.routing.trouble, told.routing.told(key("all"))) == ("", frozenset())
        shown = status_told(told.routing, made)
        assert shown is not None
        assert shown["peers"][0]["why"] == missing
        await told.routing.leave()

    virtually(main())


def test_whether_bfd_can_come_up_is_looked_at_again_when_interfaces_are_others() -> None:
    async def main() -> None:
        told = Told()
        odd = peer("odd", address="198.51.100.9", source_address="198.51.100.8", bfd_profile="quick")
        told.know(cluster(config(bgp(), peers=[peer(), odd], profiles=[BFDProfile(name="quick")])))
        assert set(told.engine.wishes[-1].neighbours) == {"tor"}
        assert [each.field for each in told.routing.problems] == ["spec.sourceAddress"]
        told.chosen = IPv4Address("198.51.100.8")
        before = len(told.changed)
        told.routing.interfaces({})
        assert told.routing.problems == ()
        assert told.engine.wishes[-1].neighbours.keys() == {"tor", "odd"}
        assert told.engine.wishes[-1].routes[f"{ALL}/32"].keys() == {"tor", "odd"}
        assert len(told.changed) == before + 1
        told.routing.interfaces({})
        assert len(told.changed) == before + 1

    virtually(main())


def test_who_cannot_be_spoken_with_keeps_nobody_else_from_it() -> None:
    async def main() -> None:
        told = Told()
        made = cluster(config(bgp(), peers=[peer(), peer("odd", vrf="red", address="198.51.100.9")]))
        told.know(made)
        assert set(told.engine.wishes[-1].neighbours) == {"tor"}
        rows = address_told(told.routing, made, at(ALL))
        assert [(row["peer"], row["told"], row["why"].partition(": GoBGP")[0]) for row in rows] == [
            ("tor", True, ""), ("odd", False, "spec.vrf: expected none"),
        ]  # fmt: skip

    virtually(main())


def test_what_nobody_foresaw_is_begun_anew() -> None:
    async def main() -> None:
        told = Told()
        told.know(cluster())
        running = asyncio.ensure_future(told.routing.run())
        await passing(0)
        assert told.routing.trouble == ("speaking BGP failed: LookupError: expected nobody to have thought of this")
        await running
        assert (told.engine.told, told.routing.trouble) == (["run"] * 3, "")

    virtually(main())


def test_trouble_is_ours_only_where_there_are_peers() -> None:
    async def main() -> None:
        told = Told()
        told.engine.trouble = "nobody listens"
        told.know(cluster(config(bgp(), peers=[])))
        assert told.routing.trouble == ""
        told.know(cluster())
        assert told.routing.trouble == "nobody listens"

    virtually(main())


def test_a_start_waits_a_while_for_the_sessions() -> None:
    async def main() -> None:
        peers = [peer(), peer("down", address="198.51.100.9"), peer("gone", address="198.51.100.8")]
        told = Told()
        told.engine.known = {}
        assert told.routing.arriving == ""
        told.know(cluster(config(bgp(), peers=peers)))
        assert told.routing.arriving == "down, gone, tor"
        told.engine.known = {"tor": UP}
        assert told.routing.arriving == "down, gone"
        told.engine.known = {}
        assert told.routing.arriving == "down, gone", "expected one that ends later to be another matter"
        told.know(cluster(config(bgp(), peers=peers[:2])))
        assert told.routing.arriving == "down"
        await passing(ARRIVAL_S + 1)
        assert told.routing.arriving == ""
        told.know(cluster(config(bgp(), peers=peers)))
        assert told.routing.arriving == ""

    virtually(main())


def test_what_is_told_of_a_service() -> None:
    async def main() -> None:
        told = Told()
        ads = [bgp(peers=["tor"], local_pref=7, communities=("1:1",))]
        peers = [peer(), peer("v6", address="2001:db8::9", dual_stack=False), peer("left", address="198.51.100.3")]
        made = cluster(config(*ads, peers=peers))
        told.know(made)
        said = service_told(told.routing, made, key("all"))
        assert said is not None
        assert said["reason"] is None
        assert said["routes"][0] == {
            "prefix": f"{ALL}/32", "services": ["shop/all"], "peer": "tor", "told": True, "state": "established",
            "local_pref": 7, "communities": ["1:1"], "why": "",
        }  # fmt: skip
        assert [(row["peer"], row["why"]) for row in said["routes"][1:]] == [
            ("v6", "its session does not carry this family"), ("left", "no advertisement names it"),
        ]  # fmt: skip
        assert said["nodes"] == dict.fromkeys(NODES)
        gone = service_told(told.routing, made, key("gone"))
        assert gone == {"reason": "serviceDeleted", "nodes": dict.fromkeys(NODES, "serviceDeleted"), "routes": []}

    virtually(main())


def test_status_and_metrics() -> None:
    async def main() -> None:
        told = Told()
        made = cluster()
        told.know(made)
        shown = status_told(told.routing, made)
        assert shown is not None
        assert shown["peers"] == [{
            "peer": "tor", "address": "198.51.100.1", "asn": 64513, "state": "established", "since_unix_s": 1.0,
            "why": "", "flaps": 0, "bfd": "none", "announced": 1, "asked": 2,
        }]  # fmt: skip
        assert status_told(told.routing, world([], config=config(peers=[]))) is None
        values = {
            sample.name: sample.value for family in numbers(told.routing) for sample in family.samples
            if sample.labels in ({"peer": "198.51.100.1:179"}, {})
        }  # fmt: skip
        assert values["metallb_bgp_session_up"] == 1
        assert values["metallb_bgp_announced_prefixes_total"] == 1
        assert values["metallb_bgp_updates_total"] == 3
        assert values["metallb_bgp_keepalives_received"] == 7
        assert "metallb_bfd_control_packet_input" not in values
        assert values["metallb_bgp_pending_prefixes_total"] == 1
        assert values["arpfast_bgp_routes"] == 2
        assert "metallb_bfd_session_up" not in values

    virtually(main())


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"address": "2001:db8::1", "port": 1179}, "[2001:db8::1]:1179"),
        ({"address": "", "interface": "eth1"}, "eth1"),
    ],
)
def test_how_metrics_name_a_peer(fields: dict[str, Any], label: str) -> None:
    assert labelled(Neighbour(peer(**fields))) == label
