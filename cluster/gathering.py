"""From what changed of each kind to the world as a value, and to what differs in it. Pure.

Each kind is reduced to what decisions are made of, and equal values are no change: a node's heartbeat, a status that
we wrote ourselves, an endpoint that became ready on a node that has others change nothing. The world's maps share with
the maps before all that is the same, so a change costs what it changes, however much there is.

Configuration is read again as a whole, since that is small, whenever one of its objects changes, or the labels of a
node or of a namespace; what comes out of it is compared with what is in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from immutables import Map

from cluster import kinds
from cluster.config import Config
from cluster.custom import Objects
from cluster.parse import parse
from cluster.resources import EndpointSlice, Key, Metadata, Namespace, Node, Object, Secret, Service
from cluster.world import NOBODY, Change, Serving, World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.kinds import Kind
    from cluster.problems import Problem
    from cluster.watching import Changed

LOAD_BALANCER = "LoadBalancer"
CONDITIONS = frozenset({"Ready", "NetworkUnavailable"})
"""Those of a node that decisions are made of."""


class SliceServing(NamedTuple):
    """What one EndpointSlice says of its Service."""

    service: Key
    serving: Serving


def of_class(service: Service, lb_class: str) -> bool:
    """Whether a Service is for us. Without a class of ours, those without one are; with one, those that name it."""
    return (service.spec.load_balancer_class or "") == lb_class


def reduce_slice(found: EndpointSlice) -> SliceServing | None:
    """What is kept of an EndpointSlice: nothing of one that belongs to no Service, or in which nobody serves."""
    service, serving = found.service, Serving.of([found])
    return SliceServing(service, serving) if service.name and serving.anywhere else None


def reduce_node(found: Node) -> Node:
    """What is kept of a Node: no heartbeat, no version, no condition that means nothing here."""
    conditions = tuple(sorted((each for each in found.status.conditions if each.type in CONDITIONS), key=_type))
    metadata = Metadata(name=found.metadata.name, uid=found.metadata.uid, labels=found.metadata.labels)
    return Node(metadata, found.spec, msgspec.structs.replace(found.status, conditions=conditions))


def _type(condition: Any) -> str:
    return str(condition.type)


def reduce_namespace(found: Namespace) -> dict[str, str]:
    """What is kept of a Namespace: its labels."""
    return found.metadata.labels


def reduce_custom(found: Object) -> Object:
    """What is kept of a custom resource: its name, its labels, and its spec, which is all that its struct has."""
    metadata = found.metadata
    kept = Metadata(
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        generation=metadata.generation,
        labels=metadata.labels,
    )
    return msgspec.structs.replace(found, metadata=kept)


class Gathering:
    """All that is known, and what of it has not been told yet."""

    def __init__(self, lb_class: str = "", node: str = "") -> None:
        """Nothing is known. `lb_class`: the class whose Services are ours; empty: those without a class. `node`: whose
        configuration it is; empty: no node's in particular.
        """
        self.world = World(services=Map(), serving=Map(), nodes=Map(), config=Config())
        self.problems: tuple[Problem, ...] = ()
        self.loaded = False
        """The pools have been good at least once: before that nothing may be given, and nothing taken."""
        self.configured = 0
        """How often configuration was read."""
        self._lb_class, self._node = lb_class, node
        self._services: set[Key] = set()
        self._nodes: set[str] = set()
        self._stale = True
        """Something that configuration is made of has changed."""
        self._slices: dict[Key, dict[Key, Serving]] = {}
        """By Service, then by EndpointSlice."""
        self._labels: dict[str, Mapping[str, str]] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._secrets: dict[str, Secret] = {}
        self._custom: dict[str, dict[Key, Any]] = {kind.name: {} for kind in FIELDS}

    def keep(self, kind: Kind[Any]) -> Callable[[Any], Any]:
        """What to remember of each object of a kind."""
        if kind is kinds.SERVICE:
            return lambda service: service if of_class(service, self._lb_class) else None
        return _REDUCED.get(kind, reduce_custom)

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the Secrets that the peers refer to."""
        peers = self._custom[kinds.BGP_PEER.name].values()
        return frozenset(peer.spec.password_secret.name for peer in peers if peer.spec.password_secret.name)

    def custom(self, kind: Kind[Any], name: str) -> Object | None:
        """The custom resource of this name, as it is now; None, if there is none."""
        return next((each for key, each in self._custom[kind.name].items() if key.name == name), None)

    def changed(self, kind: Kind[Any], changes: list[Changed[Any]]) -> None:
        """Objects of a kind, reduced by `keep`, have changed."""
        match kind:
            case kinds.SERVICE:
                self._change_services(changes)
            case kinds.ENDPOINT_SLICE:
                self._change_slices(changes)
            case kinds.NODE:
                self._change_nodes(changes)
            case kinds.NAMESPACE:
                _apply(self._namespaces, changes)
                self._stale |= bool(changes)
            case kinds.SECRET:
                _apply(self._secrets, changes)
                self._stale |= bool(changes)
            case _:
                objects = self._custom[kind.name]
                for key, _, after in changes:
                    if after is None:
                        objects.pop(key, None)
                    else:
                        objects[key] = after
                self._stale |= bool(changes)

    def flush(self) -> Change:
        """Make one world of all that has changed; what differs from the one before. Nothing may differ."""
        config = self._configure() if self._stale else False
        change = Change(frozenset(self._services), frozenset(self._nodes), config)
        self._services, self._nodes = set(), set()
        return change

    def everything(self) -> Change:
        """What differs for one who knew nothing."""
        return Change(frozenset(self.world.services), frozenset(self.world.nodes), config=True)

    def _configure(self) -> bool:
        self._stale = False
        self.configured += 1
        objects = Objects(**{field: tuple(self._custom[kind.name].values()) for kind, field in FIELDS.items()})
        config, self.problems = parse(
            objects, self._labels, self._namespaces, self._secrets, self.world.config, self._node
        )
        self.loaded = self.loaded or all(problem.kind != kinds.ADDRESS_POOL.name for problem in self.problems)
        if config == self.world.config:
            return False
        self.world = msgspec.structs.replace(self.world, config=config)
        return True

    def _change_services(self, changes: list[Changed[Service]]) -> None:
        services: Map[Key, Service] = self.world.services  # type: ignore[assignment]
        with services.mutate() as after_all:
            for key, _, after in changes:
                if after is not None:
                    after_all[key] = after
                elif key in after_all:
                    del after_all[key]
                self._services.add(key)
            self.world = msgspec.structs.replace(self.world, services=after_all.finish())

    def _change_slices(self, changes: list[Changed[SliceServing]]) -> None:
        touched: dict[Key, None] = {}
        for key, before, after in changes:
            if before is not None:
                slices = self._slices.get(before.service, {})
                slices.pop(key, None)
                if not slices:
                    self._slices.pop(before.service, None)
                touched[before.service] = None
            if after is not None:
                self._slices.setdefault(after.service, {})[key] = after.serving
                touched[after.service] = None
        serving: Map[Key, Serving] = self.world.serving  # type: ignore[assignment]
        with serving.mutate() as after_all:
            for service in touched:
                joined = _joined(self._slices.get(service, {}))
                if joined == after_all.get(service, NOBODY):
                    continue
                if joined == NOBODY:
                    del after_all[service]
                else:
                    after_all[service] = joined
                ours = self.world.services.get(service)
                if ours is not None and ours.spec.type == LOAD_BALANCER:
                    self._services.add(service)
            self.world = msgspec.structs.replace(self.world, serving=after_all.finish())

    def _change_nodes(self, changes: list[Changed[Node]]) -> None:
        nodes: Map[str, Node] = self.world.nodes  # type: ignore[assignment]
        for key, before, after in changes:
            if after is None:
                nodes = nodes.delete(key.name) if key.name in nodes else nodes
                self._labels.pop(key.name, None)
                self._stale = True
            else:
                nodes = nodes.set(key.name, after)
                self._labels[key.name] = after.metadata.labels
                self._stale |= before is None or before.metadata.labels != after.metadata.labels
            self._nodes.add(key.name)
        self.world = msgspec.structs.replace(self.world, nodes=nodes)


def _apply(objects: dict[str, Any], changes: list[Changed[Any]]) -> None:
    for key, _, after in changes:
        if after is None:
            objects.pop(key.name, None)
        else:
            objects[key.name] = after


def _joined(slices: Mapping[Key, Serving]) -> Serving:
    """What all slices of one Service come to."""
    if len(slices) == 1:
        return next(iter(slices.values()))
    return Serving(
        any(each.anywhere for each in slices.values()), frozenset().union(*(each.nodes for each in slices.values()))
    )


_REDUCED: dict[Kind[Any], Callable[[Any], Any]] = {
    kinds.ENDPOINT_SLICE: reduce_slice,
    kinds.NODE: reduce_node,
    kinds.NAMESPACE: reduce_namespace,
    kinds.SECRET: lambda secret: secret,
}
FIELDS: dict[Kind[Any], str] = {
    kinds.ADDRESS_POOL: "pools",
    kinds.L2_ADVERTISEMENT: "l2_advertisements",
    kinds.BGP_ADVERTISEMENT: "bgp_advertisements",
    kinds.BGP_PEER: "peers",
    kinds.BFD_PROFILE: "bfd_profiles",
    kinds.COMMUNITY: "communities",
}
"""What configures, and where `Objects` has it."""
