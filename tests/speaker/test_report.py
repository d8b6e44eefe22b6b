"""What is written of what is answered, to a stand-in for the API server that keeps all in a dictionary."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from cluster.client import ApiError
from cluster.resources import Key, Metadata, Object
from cluster.watching import Changed
from speaker.report import BGP, L2, Form, Report, _About, on_interfaces, own_pod, to_peers
from tests.speaker.cluster_of import key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cluster.client import Client
    from cluster.watch import Log


class Store:
    """ServiceL2Statuses by name, and what was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    async def request(
        self, verb: str, kind: Any, namespace: str = "", name: str = "", subresource: str = "", *,
        query: Any = None, body: bytes | None = None, content_type: str = "",
    ) -> bytes:  # fmt: skip
        self.asked.append(verb)
        if verb == "list":
            wanted = dict(each.split("=") for each in query["labelSelector"].split(","))
            found = [each for each in self.objects.values() if wanted.items() <= each["metadata"]["labels"].items()]
            return json.dumps({"items": found}).encode()
        if verb == "create":
            assert body is not None
            made = json.loads(body)
            made["metadata"]["name"] = f"{made['metadata']['generateName']}{len(self.asked)}"
            self.objects[made["metadata"]["name"]] = made
            return json.dumps(made).encode()
        if name not in self.objects:
            raise ApiError(f"{verb} {kind.resource} {name}", 404)
        if verb == "patch":
            assert body is not None
            said = self.objects[name].get("status", {}) | json.loads(body)["status"]
            self.objects[name]["status"] = {k: v for k, v in said.items() if v is not None}
        elif verb == "delete":
            del self.objects[name]
        return json.dumps(self.objects.get(name, {})).encode()

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        return [
            (each["metadata"]["labels"]["metallb.io/node"], each.get("status", {})) for each in self.objects.values()
        ]


POD = Object(Metadata("speaker-a", "metallb-system", "1234"))
WEB = {"node": "a", "serviceName": "web", "serviceNamespace": "shop"}


def run(
    act: Callable[[Report, Store], Awaitable[None]], store: Store | None = None, node: str = "a", form: Form = L2
) -> Store:
    store = store or Store()

    async def go() -> None:
        report = Report(
            cast("Client", store), form, node=node, namespace="metallb-system", log=cast("Log", None), pod=POD
        )  # fmt: skip
        await act(report, store)

    asyncio.run(go())
    return store


def test_one_object_says_who_answers_and_where() -> None:
    async def act(report: Report, store: Store) -> None:
        await report._write(key(), on_interfaces(["eth0", "eth1"]))
        assert store.told() == [("a", {**WEB, "interfaces": [{"name": "eth0"}, {"name": "eth1"}]})]
        (made,) = store.objects.values()
        assert made["metadata"]["ownerReferences"] == [
            {"apiVersion": "v1", "kind": "Pod", "name": "speaker-a", "uid": "1234"}
        ]
        store.asked.clear()
        await report._write(key(), on_interfaces(["eth0", "eth1"]))
        assert store.asked == ["list"], "expected nothing to be written twice"
        await report._write(key(), on_interfaces([]))
        assert store.told() == [("a", WEB)]
        await report._write(key(), None)
        assert store.told() == []

    run(act)


def test_who_answers_removes_what_others_have_left_and_who_does_not_his_own() -> None:
    async def announce(report: Report, _store: Store) -> None:
        await report._write(key(), on_interfaces([]))
        await report._write(key("other"), on_interfaces([]))

    async def withdraw(report: Report, _store: Store) -> None:
        await report._write(key(), None)

    store = run(announce, node="b")
    run(withdraw, store)
    assert [node for node, _ in store.told()] == ["b", "b"]
    run(announce, store)
    assert sorted(node for node, _ in store.told()) == ["a", "a"]


def test_what_an_earlier_life_has_left_is_removed() -> None:
    async def announce(report: Report, _store: Store) -> None:
        await report._write(key(), on_interfaces([]))

    async def forget(report: Report, _store: Store) -> None:
        assert await report.former() == {key()}
        await report.forget_former()
        assert await report.former() == frozenset()

    store = run(announce)
    run(announce, store, node="b")
    store.objects["more"] = json.loads(json.dumps(next(iter(store.objects.values()))))
    store.objects["more"]["metadata"]["name"] = "more"
    run(forget, store, node="b")
    assert store.told() == []


def test_each_node_says_by_itself_to_whom_it_announces() -> None:
    async def announce(report: Report, store: Store) -> None:
        await report._write(key(), to_peers(["tor-b", "tor-a"]))
        store.asked.clear()
        await report._write(key(), to_peers(["tor-a", "tor-b"]))
        assert store.asked == ["list"]

    async def withdraw(report: Report, _store: Store) -> None:
        await report._write(key(), None)

    store = run(announce, node="b", form=BGP)
    run(announce, store, form=BGP)
    assert store.told() == [(node, {**WEB, "node": node, "peers": ["tor-a", "tor-b"]}) for node in "ba"]
    run(withdraw, store, form=BGP)
    assert [node for node, _ in store.told()] == ["b"]


def test_what_somebody_else_has_written_or_made_is_put_right() -> None:
    async def act(report: Report, store: Store) -> None:
        await report._write(key(), on_interfaces([]))
        (made,) = store.objects.values()
        made["status"] |= {"interfaces": [{"name": "eth9"}], "node": "z"}
        store.objects["more"] = json.loads(json.dumps(made))
        store.objects["more"]["metadata"]["name"] = "more"
        await report._write(key(), on_interfaces([]))
        assert store.told() == [("a", WEB)]

    run(act)


def test_what_is_followed_is_not_asked_for() -> None:
    async def act(report: Report, store: Store) -> None:
        report._watching.complete = True
        for wish in (on_interfaces(["eth0"]), on_interfaces(["eth0"]), on_interfaces([]), None):
            await report._write(key(), wish)
        assert store.asked == ["create", "patch", "patch", "delete"]
        assert store.told() == []

    run(act)


def test_what_others_have_left_is_removed_as_soon_as_it_is_seen() -> None:
    async def act(report: Report, store: Store) -> None:
        report._watching.complete = True
        about = _About(key(), "b", 1)
        report._seen([Changed(Key("metallb-system", "l2-b"), None, about)])
        store.objects["l2-b"] = {"metadata": {"name": "l2-b", "labels": {"metallb.io/node": "b"}}}
        await report._write(key(), on_interfaces([]))
        assert store.told() == [("a", WEB)]
        report.announce(key(), on_interfaces([]))
        assert report._so(key()), "expected nothing else to be there"
        report._seen([Changed(Key("metallb-system", "l2-c"), None, about)])
        assert not report._so(key())

    run(act)


def test_what_is_gone_when_it_is_to_be_changed_is_made_again() -> None:
    async def act(report: Report, store: Store) -> None:
        report._watching.complete = True
        await report._write(key(), on_interfaces([]))
        store.objects.clear()
        with pytest.raises(ApiError):
            await report._write(key(), on_interfaces(["eth0"]))
        await report._write(key(), on_interfaces(["eth0"]))
        assert store.told() == [("a", {**WEB, "interfaces": [{"name": "eth0"}]})]

    run(act)


@pytest.mark.parametrize("name", ["", "speaker-a"])
def test_a_pod_that_is_not_there_owns_nothing(name: str) -> None:
    assert asyncio.run(own_pod(cast("Client", Store()), "metallb-system", name)) is None
