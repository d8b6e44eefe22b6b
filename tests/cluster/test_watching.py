"""The protocol of list and watch, by its bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster import kinds
from cluster.backoff import MOST_S, Backoff
from cluster.gathering import Gathering
from cluster.refusal import ApiError
from cluster.resources import Key, Service
from cluster.watching import LINE_AT_MOST, OUTAGE, Changed, Watching

WEB = Key("shop", "web")


def service(name: str = "web", version: int = 1, **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"type": "LoadBalancer", **spec}}


def event(kind: str, what: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": kind, "object": what}) + b"\n"


def mark(version: int, *, end: bool = False) -> bytes:
    annotations = {"annotations": {"k8s.io/initial-events-end": "true"}} if end else {}
    return event("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": str(version), **annotations}})


def page(*items: dict[str, Any], version: int = 10, more: str = "") -> bytes:
    return msgspec.json.encode({"metadata": {"resourceVersion": str(version), "continue": more}, "items": items})


def watching(**settings: Any) -> Watching[Service, Service]:
    return Watching(kinds.SERVICE, Gathering().keep(kinds.SERVICE), backoff=Backoff(dice=lambda: 1.0), **settings)


def listed(*items: dict[str, Any], **settings: Any) -> Watching[Service, Service]:
    """One that knows these, at version 10."""
    made = watching(**settings)
    made.next_request()
    made.opened(0)
    made.feed(b"".join(event("ADDED", item) for item in items) + mark(10, end=True))
    made.next_request()
    made.opened(0)
    return made


def plain(changes: list[Changed[Service]]) -> list[tuple[str, str | None, str | None]]:
    """By versions."""
    return [(change.key.name, version(change.before), version(change.after)) for change in changes]


def version(of: Service | None) -> str | None:
    return None if of is None else of.metadata.resource_version


def refused(code: int, message: str = "", retry_after_s: float = 0.0) -> ApiError:
    return ApiError("watch services", code, "Refused", message, retry_after_s)


PARTS = [
    b"\n", b"{", b"}", b'{"type":"ADDED","object":', b'{"type":"DELETED","object":', b'{"metadata":{"name":"web",',
    b'"namespace":"shop"}}', b'"resourceVersion":"99",', b'"spec":{"ports":', b"null", b'"\xff"', mark(20),
    event("ADDED", service("a", 11)), event("MODIFIED", service("web", 12)), event("BOOKMARK", {}),
    event("ERROR", {"code": 410}),
]  # fmt: skip


class TestListing:
    def test_the_first_watch_asks_for_all_that_there_is(self) -> None:
        verb, query = watching().next_request()
        assert verb == "watch"
        assert query.items() >= {
            "watch": "true", "allowWatchBookmarks": "true",
            "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan",
        }.items()  # fmt: skip
        assert "resourceVersion" not in query

    def test_nothing_is_known_before_the_mark_and_all_after_it(self) -> None:
        one = watching()
        one.next_request()
        assert one.feed(event("ADDED", service("a", 1)) + event("ADDED", service("b", 2))) == []
        assert (one.complete, len(one.objects)) == (False, 0)
        assert plain(one.feed(mark(5, end=True))) == [("a", None, "1"), ("b", None, "2")]
        assert (one.complete, len(one.objects)) == (True, 2)
        assert one.next_request().query["resourceVersion"] == "5"

    def test_what_changes_while_it_is_listed_counts(self) -> None:
        one = watching()
        one.next_request()
        one.feed(event("ADDED", service("a", 1)) + event("ADDED", service("b", 2)))
        one.feed(event("MODIFIED", service("a", 3)) + event("DELETED", service("b", 4)))
        assert plain(one.feed(mark(5, end=True))) == [("a", None, "3")]

    def test_an_empty_cluster_is_complete(self) -> None:
        one = listed()
        assert one.complete
        assert one.counts.lists == 1

    @pytest.mark.parametrize("code", [400, 422])
    def test_a_server_that_refuses_is_asked_for_pages(self, code: int) -> None:
        one = watching()
        one.next_request()
        assert one.failed(refused(code, "sendInitialEvents is forbidden"), 0) == 0
        assert one.next_request() == ("list", {"limit": "500"})

    def test_a_server_that_takes_no_notice_is_asked_for_pages(self) -> None:
        one = watching()
        one.next_request()
        one.opened(0)
        with pytest.raises(ValueError, match="expected a list before what changes") as told:
            one.feed(event("ADDED", service()) + mark(7))
        one.failed(told.value, 60)
        assert one.next_request().verb == "list"

    def test_pages(self) -> None:
        one = watching()
        one.next_request()
        one.failed(refused(400), 0)
        one.next_request()
        assert one.page(page(service("a", 1), more="token")) == []
        assert not one.complete
        assert one.next_request() == ("list", {"limit": "500", "continue": "token"})
        assert plain(one.page(page(service("b", 2), version=12))) == [("a", None, "1"), ("b", None, "2")]
        verb, query = one.next_request()
        assert (verb, query["resourceVersion"]) == ("watch", "12")

    def test_an_expired_page_starts_the_list_again(self) -> None:
        one = watching()
        one.next_request()
        one.failed(refused(400), 0)
        one.next_request()
        one.page(page(service("a", 1), more="token"))
        one.failed(refused(410), 0)
        assert one.next_request().query == {"limit": "500"}
        assert plain(one.page(page(service("b", 2)))) == [("b", None, "2")]

    def test_a_page_that_is_refused_is_asked_for_again(self) -> None:
        one = watching()
        one.next_request()
        one.failed(refused(400), 0)
        one.next_request()
        one.page(page(service("a", 1), more="token"))
        one.failed(refused(429), 0)
        assert one.next_request().query["continue"] == "token"

    def test_a_later_list_tells_what_differs(self) -> None:
        one = listed(service("same", 1), service("changed", 2), service("gone", 3))
        same = one.objects[Key("shop", "same")]
        one.failed(refused(410), 0)
        one.next_request()
        assert one.complete
        one.feed(event("ADDED", service("same", 1)) + event("ADDED", service("changed", 8)))
        assert len(one.objects) == 3
        one.feed(event("ADDED", service("new", 9)))
        changes = plain(one.feed(mark(11, end=True)))
        assert sorted(changes) == [("changed", "2", "8"), ("gone", "3", None), ("new", None, "9")]
        assert one.objects[Key("shop", "same")] is same

    def test_one_object_or_some(self) -> None:
        assert watching(namespace="x", name="y").next_request().query["fieldSelector"] == "metadata.name=y"
        assert watching(labels="a=b").next_request().query["labelSelector"] == "a=b"


class TestWatching:
    def test_what_comes_changes_and_goes(self) -> None:
        one = listed()
        assert plain(one.feed(event("ADDED", service("a", 11)))) == [("a", None, "11")]
        assert plain(one.feed(event("MODIFIED", service("a", 12)))) == [("a", "11", "12")]
        assert plain(one.feed(event("DELETED", service("a", 13)))) == [("a", "12", None)]
        assert one.objects == {}

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
    def test_bytes_may_be_cut_anywhere(self, size: int) -> None:
        one = listed()
        text = event("ADDED", service("a", 11)) + b"\n" + event("MODIFIED", service("a", 12)) + mark(20)
        changes = [each for at in range(0, len(text), size) for each in one.feed(text[at : at + size])]
        assert plain(changes) == [("a", None, "11"), ("a", "11", "12")]
        assert one.next_request().query["resourceVersion"] == "20"

    def test_a_watch_that_ends_is_taken_up_where_it_was(self) -> None:
        one = listed()
        one.feed(event("ADDED", service("a", 11)))
        assert one.closed(300) == 0
        assert one.next_request().query["resourceVersion"] == "11"

    def test_half_a_line_is_forgotten_with_its_watch(self) -> None:
        one = listed()
        one.feed(event("ADDED", service("a", 11))[:-9])
        one.closed(300)
        one.next_request()
        assert plain(one.feed(event("ADDED", service("a", 11)))) == [("a", None, "11")]

    def test_a_cut_is_taken_up_where_it_was(self) -> None:
        one = listed(service("a", 3))
        assert one.failed(ConnectionResetError(), 1) <= 0.2
        assert one.next_request().query["resourceVersion"] == "10"

    def test_a_few_cuts_before_the_answer_are_no_outage_and_many_are(self) -> None:
        one = listed(service("a", 3))
        for _ in range(OUTAGE):
            assert one.next_request().query["resourceVersion"] == "10"
            one.failed(ConnectionResetError(), 100)
        assert "sendInitialEvents" in one.next_request().query

    @pytest.mark.parametrize("error", [ConnectionRefusedError, TimeoutError])
    def test_after_an_outage_all_is_listed_again(self, error: type[OSError]) -> None:
        """The store may have been put back to an older state, whose versions are not those we know."""
        one = listed(service("a", 3))
        one.failed(ConnectionResetError(), 100)
        one.next_request()
        one.failed(error(), 101)
        assert "sendInitialEvents" in one.next_request().query
        assert one.complete
        assert len(one.objects) == 1

    @pytest.mark.parametrize("error", [refused(410), refused(504, "Too large resource version: 10, current: 7")])
    def test_a_version_that_the_server_does_not_know(self, error: ApiError) -> None:
        one = listed(service("a", 3))
        one.failed(error, 0)
        assert "sendInitialEvents" in one.next_request().query

    @pytest.mark.parametrize("code", [403, 429, 500, 503])
    def test_a_refusal_changes_nothing_that_is_known(self, code: int) -> None:
        one = listed(service("a", 3))
        one.failed(refused(code), 0)
        assert one.next_request().query["resourceVersion"] == "10"
        assert one.counts.failures == 1

    def test_an_error_within_the_watch(self) -> None:
        one = listed()
        with pytest.raises(ApiError, match="watch services: 410 Expired: too old") as told:
            one.feed(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}))
        one.failed(told.value, 0)
        assert "sendInitialEvents" in one.next_request().query

    def test_what_is_not_kept_is_not_there(self) -> None:
        one = listed()
        assert one.feed(event("ADDED", service("other", 11, loadBalancerClass="other"))) == []
        one.feed(event("ADDED", service("a", 12)))
        assert plain(one.feed(event("MODIFIED", service("a", 13, loadBalancerClass="other")))) == [("a", "12", None)]


class TestHostile:
    @pytest.mark.parametrize(
        "bad",
        [
            b'{"type":"ADDED","object":{"metadata":{"namespace":"shop","name":"web"},"spec":{"ports":[{"port":"x"}]}}}',
            b'{"type":"ADDED","object":{"metadata":{"namespace":"shop","name":"web","annotations":{"metallb.io/x":"\xff"}}}}',
            b'{"type":"ADDED","object":{"metadata":{"namespace":"shop","name":"web","annotations":7}}}',
        ],
    )
    def test_what_does_not_decode_costs_one_object(self, bad: bytes) -> None:
        one = listed(service("web", 3))
        text = event("ADDED", service("a", 11)) + bad + b"\n" + event("ADDED", service("b", 12))
        assert plain(one.feed(text)) == [("a", None, "11"), ("b", None, "12")]
        assert one.objects[WEB].metadata.resource_version == "3"
        assert one.counts.unreadable == 1
        (complaint,) = one.complaints
        assert complaint.startswith("Service ")

    def test_in_a_list_it_stays_as_it_was(self) -> None:
        one = listed(service("web", 3))
        one.failed(refused(410), 0)
        one.next_request()
        bad = service("web", 4, ports="many")
        assert one.feed(event("ADDED", bad) + mark(20, end=True)) == []
        assert one.objects[WEB].metadata.resource_version == "3"

    def test_what_has_not_even_a_name(self) -> None:
        one = listed()
        assert one.feed(event("ADDED", {"metadata": 7}) + event("ADDED", service("a", 11))) != []
        assert one.counts.unreadable == 1

    def test_deep_nesting(self) -> None:
        one = listed()
        deep = b'{"type":"ADDED","object":{"spec":' + b"[" * 100_000 + b"\n"
        with pytest.raises(ValueError, match="expected what the API promises"):
            one.feed(deep)

    @pytest.mark.parametrize("text", [b"<html>\n", b"{}\n", b'{"type":"BOOKMARK","object":{}}\n', b"\xff\xfe\n"])
    def test_what_is_no_watch_is_asked_for_again(self, text: bytes) -> None:
        one = listed()
        with pytest.raises(ValueError) as told:  # noqa: PT011
            one.feed(text)
        one.failed(told.value, 0)
        assert "sendInitialEvents" in one.next_request().query

    @given(st.lists(st.binary(max_size=60) | st.sampled_from(PARTS), max_size=12))
    def test_any_bytes_are_taken_or_refused(self, chunks: list[bytes]) -> None:
        """Never is anything else raised, and what was known is never lost but by a DELETED of its own."""
        one = listed(service("web", 3))
        try:
            for chunk in chunks:
                one.feed(chunk)
        except (ValueError, ApiError) as error:
            one.failed(error, 1)
        deleted = b'"DELETED"' in b"".join(chunks)
        assert WEB in one.objects or deleted

    def test_a_line_without_an_end(self) -> None:
        one = listed()
        with pytest.raises(ValueError, match="without an end"):
            one.feed(b" " * (LINE_AT_MOST + 1))

    def test_long_annotations_of_others_are_not_kept(self) -> None:
        one = listed()
        what = service("a", 11)
        what["metadata"]["annotations"] = {"other/x": "y" * (256 << 10), "metallb.io/address-pool": "gold"}
        one.feed(event("ADDED", what))
        assert one.objects[Key("shop", "a")].metadata.annotations == {"metallb.io/address-pool": "gold"}


class TestWaiting:
    def test_longer_after_each_failure(self) -> None:
        one = watching()
        waits = []
        for _ in range(12):
            one.next_request()
            waits.append(one.failed(ConnectionRefusedError(), 0))
        assert waits[:3] == [0.1, 0.2, 0.4]
        assert waits[-1] == MOST_S

    def test_a_watch_that_stood_for_a_while_was_no_failure(self) -> None:
        one = listed()
        for now in range(1, 100):
            assert one.failed(ConnectionResetError(), now) == 0.1
            one.next_request()
            one.opened(now)

    def test_a_watch_that_is_closed_at_once_is(self) -> None:
        one = listed()
        waits = []
        for _ in range(5):
            waits.append(one.closed(0.0))
            one.next_request()
            one.opened(0)
        assert waits == [0.1, 0.2, 0.4, 0.8, 1.6]

    def test_the_server_may_ask_for_more(self) -> None:
        assert watching().failed(refused(429, retry_after_s=7), 0) == 7.1
