"""A daemon in a dictionary, which minds the order in which it is told things, and fails when it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from speaker.bgp import messages, peers
from speaker.bgp.failure import DaemonError
from speaker.bgp.protobuf import Message, decode, encode
from speaker.bgp.routes import TAG_ADMIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

M = TypeVar("M", bound=Message)


class StandIn:
    """As `rpc.Connection`, with the daemon at its end."""

    def __init__(self) -> None:
        self.sets: dict[str, messages.DefinedSet] = {}
        self.statements: dict[str, messages.Statement] = {}
        self.assigned: dict[int, messages.PolicyAssignment] = {}
        self.paths: dict[str, messages.Path] = {}
        self.peers: dict[str, messages.Peer] = {}
        self.asked: list[str] = []
        self.wanted_before_peers: set[str] = set()
        self.fail_after: int | None = None
        """So many RPCs are answered, and no more."""
        self.refuse: set[str] = set()
        """Addresses of peers that it does not like."""

    def _count(self, rpc: str) -> None:
        self.asked.append(rpc)
        if self.fail_after is not None:
            self.fail_after -= 1
            if self.fail_after < 0:
                raise DaemonError(rpc, "UNAVAILABLE", "gone", lost=True)

    async def tell(self, rpc: str, request: Message, *, deadline_s: float = 5.0) -> None:
        self._count(rpc)
        getattr(self, rpc)(decode(type(request), encode(request)))

    async def ask(self, rpc: str, request: Message, kind: type[M], *, deadline_s: float = 5.0) -> M:
        raise AssertionError(f"nobody has to ask this daemon for {rpc}")

    async def feed(self, rpc: str, requests: Iterable[Message], *, deadline_s: float) -> None:
        for request in requests:
            self._count(rpc)
            assert isinstance(request, messages.AddPathStreamRequest)
            for path in request.paths:
                self._add_path(decode(messages.Path, path))

    async def each(
        self, rpc: str, request: Message, kind: type[M], *, deadline_s: float | None = 30.0
    ) -> AsyncIterator[M]:
        self._count(rpc)
        for answer in getattr(self, rpc)(request):
            yield decode(kind, encode(answer))

    def _add_path(self, path: messages.Path) -> None:
        assert path.nlri is not None
        assert path.nlri.prefix is not None
        prefix = f"{path.nlri.prefix.prefix}/{path.nlri.prefix.prefix_len}"
        known = set(self.statements)
        for each in (path, self.paths.get(prefix)):
            for tag in [] if each is None or each.is_withdraw else tags(each):
                assert f"arpfast-{tag:016x}-0" in known, "who is told is judged by statements: old and new"
        if path.is_withdraw:
            self.paths.pop(prefix, None)
        else:
            self.paths[prefix] = path

    def SetPolicies(self, request: messages.SetPoliciesRequest) -> None:  # noqa: N802
        self.sets = {each.name: each for each in request.defined_sets}
        assert {each.name for each in request.policies} == {"arpfast", "arpfast-import"}
        (export,) = (each for each in request.policies if each.name == "arpfast")
        self.statements = {each.name: each for each in export.statements}
        for tag in {tag for path in self.paths.values() for tag in tags(path)}:
            assert f"arpfast-{tag:016x}-0" in self.statements, "no path is without its statement"
        for each in self.statements.values():
            assert each.conditions is not None
            assert each.conditions.neighbor_set is not None
            assert each.conditions.large_community_set is not None
            assert {each.conditions.neighbor_set.name, each.conditions.large_community_set.name} <= self.sets.keys()

    def SetPolicyAssignment(self, request: messages.SetPolicyAssignmentRequest) -> None:  # noqa: N802
        assert request.assignment is not None
        assert request.assignment.default_action == messages.REJECT
        self.assigned[request.assignment.direction] = request.assignment

    def AddPeer(self, request: messages.AddPeerRequest) -> None:  # noqa: N802
        assert self.assigned.keys() == {messages.IMPORT, messages.EXPORT}, "or else it is told everything"
        assert self.wanted_before_peers <= self.paths.keys(), "or else End-of-RIB comes too early"
        assert request.peer is not None
        assert request.peer.conf is not None
        address = request.peer.conf.neighbor_address
        if address in self.refuse or address in self.peers:
            raise DaemonError("AddPeer", "UNKNOWN", "no", lost=False)
        self.peers[address] = request.peer

    def UpdatePeer(self, request: messages.AddPeerRequest) -> None:  # noqa: N802
        assert request.peer is not None
        assert request.peer.conf is not None
        before = self.peers[request.peer.conf.neighbor_address]
        assert before.conf == request.peer.conf, "or else the session ends"
        self.peers[request.peer.conf.neighbor_address] = request.peer

    def EnablePeer(self, request: messages.PeerRequest) -> None:  # noqa: N802
        assert request.address in self.peers

    def DisablePeer(self, request: messages.DisablePeerRequest) -> None:  # noqa: N802
        assert request.address in self.peers

    def DeletePeer(self, request: messages.PeerRequest) -> None:  # noqa: N802
        del self.peers[request.address]

    def ListPolicy(self, _: Message) -> list[Message]:  # noqa: N802
        return [
            messages.ListPolicyResponse(messages.Policy("somebody's", (messages.Statement("somebody's"),))),
            messages.ListPolicyResponse(messages.Policy("arpfast", tuple(self.statements.values()))),
        ]

    def ListDefinedSet(self, request: messages.ListDefinedSetRequest) -> list[Message]:  # noqa: N802
        found = [each for each in self.sets.values() if each.defined_type == request.defined_type]
        return [messages.ListDefinedSetResponse(each) for each in found]

    def ListPath(self, request: messages.ListPathRequest) -> list[Message]:  # noqa: N802
        return [
            messages.ListPathResponse(messages.Destination(prefix, (path,)))
            for prefix, path in self.paths.items()
            if path.family == request.family
        ]

    def ListPeer(self, _: Message) -> list[Message]:  # noqa: N802
        return [messages.ListPeerResponse(each) for each in self.peers.values()]

    def names(self) -> dict[str, str]:
        """The digest of each peer of ours."""
        return {peers.known(each).name: peers.known(each).digest for each in self.peers.values()}


LOOKALIKE = f"large:{TAG_ADMIN}:1:2"
"""Somebody may ask for a community that looks like a tag."""


def tags(path: messages.Path) -> set[int]:
    found: Any = [each.large_communities for each in path.pattrs if each.large_communities is not None]
    return {
        each.local_data1 << 32 | each.local_data2
        for one in found
        for each in one.communities
        if each.global_admin == TAG_ADMIN and (each.local_data1, each.local_data2) != (1, 2)
    }
