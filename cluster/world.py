"""All that is known of the cluster at one moment, as a value; and what differs from the moment before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.config import Config
    from cluster.resources import EndpointSlice, Key, Node, Service


class Serving(msgspec.Struct, frozen=True):
    """Who serves a Service: its EndpointSlices, reduced to what matters here."""

    anywhere: bool = False
    """Whether there is any endpoint that serves."""
    nodes: frozenset[str] = frozenset()
    """The nodes that have one."""

    @classmethod
    def of(cls, slices: Iterable[EndpointSlice]) -> Serving:
        """What all slices of one Service come to."""
        serving = [each for one in slices for each in one.endpoints or () if each.serves and each.addresses]
        return cls(bool(serving), frozenset(each.node_name for each in serving if each.node_name))


NOBODY = Serving()


class World(msgspec.Struct, frozen=True):
    """The cluster as it is known. Whoever holds it may keep it: it never changes."""

    services: Mapping[Key, Service]
    """Those of our class, of any type."""
    serving: Mapping[Key, Serving]
    """By Service; who is absent is served by nobody."""
    nodes: Mapping[str, Node]
    config: Config
    """The last good one."""


class Change(msgspec.Struct, frozen=True):
    """What differs between two worlds: it costs what has changed, not what there is."""

    services: frozenset[Key] = frozenset()
    """Those that came, changed or went, or whose `Serving` did."""
    nodes: frozenset[str] = frozenset()
    config: bool = False
    """Configuration is another one, which may be about every Service."""

    def __or__(self, later: Change) -> Change:
        """Both, one after the other."""
        return Change(self.services | later.services, self.nodes | later.nodes, self.config or later.config)


NOTHING = Change()
