"""Worlds made by hand, in few words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from arpfast.spans import Span
from cluster.config import Config, L2Advertisement, Pool
from cluster.resources import (
    ALLOW_SHARED_IP,
    EXCLUDED,
    Condition,
    Conditions,
    Endpoint,
    EndpointSlice,
    Ingress,
    Key,
    LoadBalancerStatus,
    Metadata,
    Node,
    NodeSpec,
    NodeStatus,
    Service,
    ServiceSpec,
    ServiceStatus,
    Taint,
)
from cluster.selectors import Selector
from cluster.world import Change, Serving, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NODES = ("iris1", "iris2", "iris3")
RED = Selector(match_labels={"colour": "red"})


def node(name: str, *, unavailable: bool = False, excluded: bool = False, cordoned: bool = False, taints: str = "",
         ready: bool = True) -> Node:  # fmt: skip
    conditions = [Condition("Ready", str(ready))]
    conditions += [Condition("NetworkUnavailable", "True")] if unavailable else []
    return Node(
        Metadata(name, labels={EXCLUDED: ""} if excluded else {}),
        NodeSpec(cordoned, tuple(Taint(taint, "NoExecute") for taint in taints.split())),
        NodeStatus(conditions=tuple(conditions)),
    )


def service(name: str = "web", *ips: str, local: bool = False, shared: bool = False, labels: Mapping[str, str] = {},
            type: str = "LoadBalancer") -> Service:  # noqa: A002  # fmt: skip
    return Service(
        Metadata(name, "shop", labels=dict(labels), annotations={ALLOW_SHARED_IP: "key"} if shared else {}),
        ServiceSpec(type=type, external_traffic_policy="Local" if local else "Cluster"),
        ServiceStatus(LoadBalancerStatus(tuple(map(Ingress, ips)))),
    )


def ad(
    name: str = "ad", nodes: Iterable[str] = NODES, pools: Iterable[str] = ("pool",), **fields: Any
) -> L2Advertisement:
    return L2Advertisement(name=name, pools=frozenset(pools), nodes=frozenset(nodes), **fields)


def pool(name: str = "pool", *spans: str) -> Pool:
    return Pool(name=name, spans=tuple(map(Span.parse, spans or ("10.20.30.0/24", "2001:db8::/112"))))


def config(*ads: L2Advertisement, pools: Iterable[Pool] = ()) -> Config:
    return Config(pools={each.name: each for each in pools or (pool(),)}, l2_advertisements=ads or (ad(),))


def serving(*nodes: str) -> Serving:
    """A ready endpoint on each; on a node that has no name, if there is none."""
    return Serving(True, frozenset(nodes))


def endpoint(node_name: str, *, ready: bool | None = None, serving: bool | None = None) -> Endpoint:
    return Endpoint(("10.0.0.1",), Conditions(ready, serving), node_name)


def reduced(*endpoints: Endpoint) -> Serving:
    return Serving.of([EndpointSlice(Metadata("web-1", "shop"), endpoints)])


def world(services: Iterable[Service], served: Mapping[str, Serving] | Serving | None = None, *,
          nodes: Iterable[Node] = (), config: Config = config()) -> World:  # noqa: B008  # fmt: skip
    """By default everything is served everywhere, by nodes in good order."""
    known = {each.metadata.name: each for each in map(node, NODES)} | {each.metadata.name: each for each in nodes}
    keyed = {each.key: each for each in services}
    everywhere = serving(*NODES) if served is None else served
    by_key = {
        key: everywhere if isinstance(everywhere, Serving) else everywhere.get(key.name, Serving()) for key in keyed
    }
    return World(keyed, by_key, known, config)


def key(name: str = "web") -> Key:
    return Key("shop", name)


def step_on(now: World, step: object) -> tuple[World, Change]:
    """The world after one of these is another: a Service, who serves one, configuration, a Node; or a Service is gone,
    by its name.
    """
    match step:
        case Service():
            after = msgspec.structs.replace(now, services={**now.services, step.key: step})
            return after, Change(services=frozenset({step.key}))
        case (str(name), Serving() as served):
            after = msgspec.structs.replace(now, serving={**now.serving, key(name): served})
            return after, Change(services=frozenset({key(name)}))
        case Config():
            return msgspec.structs.replace(now, config=step), Change(config=True)
        case Node():
            after = msgspec.structs.replace(now, nodes={**now.nodes, step.metadata.name: step})
            return after, Change(nodes=frozenset({step.metadata.name}))
    gone = key(str(step))
    left = {each: one for each, one in now.services.items() if each != gone}
    return msgspec.structs.replace(now, services=left), Change(services=frozenset({gone}))
