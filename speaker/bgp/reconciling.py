"""Makes one daemon have what is wanted, by what it has already: only the difference is asked for.

In this order, so that no peer is ever told what is not for it, and none is told that all has been said (End-of-RIB)
before it has been: statements that are new, paths, peers, and last the statements that nobody needs any more. All
statements are set by one RPC, which takes effect as a whole. A peer that the daemon refuses stops nobody else.

Import is denied but for our own paths: what peers say is not wanted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from speaker.bgp import messages, paths, peers
from speaker.bgp.failure import DaemonError
from speaker.bgp.messages import Statement
from speaker.bgp.routes import POLICY, Plan, Route, Rule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from typing import Protocol, TypeVar

    from speaker.bgp.peers import Known
    from speaker.bgp.protobuf import Message
    from speaker.bgp.wish import Prefix

    M = TypeVar("M", bound=Message)
    P = TypeVar("P", Statement, messages.DefinedSet)

    class Connection(Protocol):
        """What is asked of `rpc.Connection`."""

        async def tell(self, rpc: str, request: Message, *, deadline_s: float = ...) -> None: ...
        async def ask(self, rpc: str, request: Message, kind: type[M], *, deadline_s: float = ...) -> M: ...
        async def feed(self, rpc: str, requests: Iterable[Message], *, deadline_s: float) -> None: ...
        def each(
            self, rpc: str, request: Message, kind: type[M], *, deadline_s: float | None = ...
        ) -> AsyncIterator[M]: ...


IMPORT_POLICY = f"{POLICY}-import"
LISTED_AT_ONCE = 1000
FEED_DEADLINE_S, FEED_AT_LEAST_PER_S = 5.0, 1000
_OURS = Statement(
    "arpfast-own",
    messages.Conditions(route_type=messages.LOCAL_ROUTE),
    messages.Actions(route_action=messages.ACCEPT),
)
_RULE_NAME = re.compile(rf"{POLICY}-([0-9a-f]{{16}})(?:-\d+)?")


class Reconciliation:
    """With the daemon at the end of one connection; nobody else may change what it has."""

    def __init__(self, connection: Connection) -> None:
        """Nothing is known of it yet: `read` it first."""
        self._connection = connection
        self.routes: dict[Prefix, Route] = {}
        self.rules: dict[int, Rule] = {}
        self.peers: dict[str, Known] = {}
        self.refused: dict[str, str] = {}
        """Why the daemon refused a peer, by its name."""
        self._strangers: list[str] = []
        self.announced = self.withdrawn = 0

    async def read(self) -> None:
        """Learn what the daemon has, and see that it tells peers nothing but what is ours. Raises DaemonError."""
        connection = self._connection
        statements = [
            statement
            async for each in connection.each("ListPolicy", messages.Empty(), messages.ListPolicyResponse)
            if each.policy is not None and each.policy.name == POLICY
            for statement in each.policy.statements
        ]
        sets = [
            each.defined_set
            for kind in (messages.LARGE_COMMUNITY_SET, messages.NEIGHBOUR_SET)
            async for each in connection.each(
                "ListDefinedSet", messages.ListDefinedSetRequest(kind), messages.ListDefinedSetResponse
            )
            if each.defined_set is not None
        ]
        self.rules = _rules(statements, sets)
        if not self.rules:
            await self._set_rules()
        for direction, name in ((messages.EXPORT, POLICY), (messages.IMPORT, IMPORT_POLICY)):
            assignment = messages.PolicyAssignment("global", direction, (messages.Policy(name),), messages.REJECT)
            await connection.tell("SetPolicyAssignment", messages.SetPolicyAssignmentRequest(assignment))
        self.routes = {}
        for family in paths.FAMILIES.values():
            request = messages.ListPathRequest(messages.GLOBAL_TABLE, family, LISTED_AT_ONCE)
            async for told in connection.each("ListPath", request, messages.ListPathResponse):
                if told.destination is not None and (found := paths.read(told.destination, self.rules)) is not None:
                    self.routes[found[0]] = found[1]
        self.peers, self._strangers = {}, []
        for known in map(peers.known, await self.list_peers()):
            if known.name and known.name not in self.peers:
                self.peers[known.name] = known
            else:
                self._strangers.append(known.address)

    async def list_peers(self) -> list[messages.Peer]:
        """What the daemon says of its peers. Raises DaemonError."""
        listing = self._connection.each("ListPeer", messages.Empty(), messages.ListPeerResponse, deadline_s=5.0)
        return [told.peer async for told in listing if told.peer is not None]

    async def apply(self, plan: Plan, wanted: Mapping[str, messages.Peer]) -> None:
        """Make it so: `wanted` are the peers by name. Raises DaemonError; then `read` again before the next time."""
        if plan.rules.keys() - self.rules.keys():
            self.rules = {**self.rules, **plan.rules}
            await self._set_rules()
        await self._set_routes(plan.routes)
        await self._set_peers(wanted)
        if self.rules.keys() != plan.rules.keys():
            self.rules = dict(plan.rules)
            await self._set_rules()
        else:
            self.rules = dict(plan.rules)  # which know their peers

    async def _set_rules(self) -> None:
        rules = [self.rules[tag] for tag in sorted(self.rules)]
        sets = tuple(each for rule in rules for each in rule.sets)
        statements = tuple(each for rule in rules for each in rule.statements)
        policies = (messages.Policy(POLICY, statements), messages.Policy(IMPORT_POLICY, (_OURS,)))
        await self._connection.tell("SetPolicies", messages.SetPoliciesRequest(sets, policies))

    async def _set_routes(self, wanted: Mapping[Prefix, Route]) -> None:
        new = [(prefix, route) for prefix, route in wanted.items() if self.routes.get(prefix) != route]
        gone = [prefix for prefix in self.routes if prefix not in wanted]
        if not new and not gone:
            return

        def changes() -> Iterator[bytes]:
            yield from map(paths.withdrawal, gone)
            for prefix, route in new:
                yield paths.announcement(prefix, route)

        deadline_s = FEED_DEADLINE_S + (len(new) + len(gone)) / FEED_AT_LEAST_PER_S
        await self._connection.feed("AddPathStream", paths.requests(changes()), deadline_s=deadline_s)
        self.routes = dict(wanted)
        self.announced += len(new)
        self.withdrawn += len(gone)

    async def _set_peers(self, wanted: Mapping[str, messages.Peer]) -> None:
        self.refused = {}
        for name, address in [(known.name, known.address) for known in self.peers.values()] + [
            ("", address) for address in self._strangers
        ]:
            peer = wanted.get(name)
            if peer is None or peers.known(peer).digest != self.peers[name].digest:
                await self._delete(address)
                self.peers.pop(name, None)
        self._strangers = []
        for name, peer in wanted.items():
            if name not in self.peers:
                await self._make("AddPeer", name, peer)
            elif self.peers[name].soft != peers.known(peer).soft:
                await self._make("UpdatePeer", name, peer)

    async def _delete(self, address: str) -> None:
        if not address:
            return
        try:
            await self._connection.tell("DeletePeer", messages.PeerRequest(address))
        except DaemonError as error:
            if error.lost:
                raise

    async def _make(self, rpc: str, name: str, peer: messages.Peer) -> None:
        try:
            await self._connection.tell(rpc, messages.AddPeerRequest(peer))  # UpdatePeer's has the same shape
        except DaemonError as error:
            if error.lost:
                raise
            self.refused[name] = error.message
        else:
            self.peers[name] = peers.known(peer)


def _rules(statements: Iterable[Statement], sets: Iterable[messages.DefinedSet]) -> dict[int, Rule]:
    """The rules that these statements and sets make up, as far as they are ours."""
    sets_of, statements_of = _by_tag(sets), _by_tag(statements)
    return {tag: Rule(tuple(sets_of[tag]), tuple(said)) for tag, said in statements_of.items() if tag in sets_of}


def _by_tag(parts: Iterable[P]) -> dict[int, list[P]]:
    found: dict[int, list[P]] = defaultdict(list)
    for part in parts:
        if ours := _RULE_NAME.fullmatch(part.name):
            found[int(ours[1], 16)].append(part)
    return found
