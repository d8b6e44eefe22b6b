"""Which Events are told, and how."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec

from cluster import kinds
from cluster.events import AGAIN_S, BURST, REFILL_S, REMEMBERED, Admission, Event, Events, event_body
from cluster.refusal import ApiError
from cluster.resources import Metadata, Service

SERVICE = Service(Metadata(name="web", namespace="shop", uid="u1", resource_version="7"))


def body(note: str = "announcing from node n1") -> dict[str, object]:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    event = Event(kinds.SERVICE, SERVICE, "Normal", "nodeAssigned", note, at)
    made: dict[str, object] = msgspec.json.decode(event_body(event, "web.1", "metallb-speaker", "n1"))
    return made


class TestAdmission:
    def test_the_same_is_not_said_again(self) -> None:
        admission = Admission()
        assert admission.admit("u1", "x", 0)
        assert not admission.admit("u1", "x", AGAIN_S - 1)
        assert admission.admit("u1", "x", AGAIN_S)

    def test_the_same_is_said_of_another(self) -> None:
        admission = Admission()
        assert admission.admit("u1", "x", 0)
        assert admission.admit("u2", "x", 0)

    def test_the_same_is_said_after_something_else(self) -> None:
        admission = Admission()
        assert [admission.admit("u1", what, 0) for what in "xyx"] == [True, True, True]

    def test_who_has_much_to_say_is_cut_short(self) -> None:
        admission = Admission()
        assert sum(admission.admit("u1", number, 0) for number in range(1000)) == BURST
        assert admission.admit("u2", 0, 0)
        assert not admission.admit("u1", "x", REFILL_S - 1)
        assert admission.admit("u1", "x", REFILL_S)

    def test_who_has_little_to_say_may_always(self) -> None:
        admission = Admission()
        assert all(admission.admit("u1", number, number * REFILL_S) for number in range(1000))

    def test_it_remembers_no_more_than_so_many(self) -> None:
        admission = Admission()
        for number in range(REMEMBERED + 1):
            admission.admit(str(number), "x", 0)
        assert len(admission._known) == REMEMBERED
        assert admission.admit("0", "x", 0)
        assert not admission.admit(str(REMEMBERED), "x", 0)


class TestBody:
    def test_what_the_api_takes(self) -> None:
        assert body() == {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "web.1", "namespace": "shop"},
            "eventTime": "2026-01-02T03:04:05.678901Z",
            "firstTimestamp": "2026-01-02T03:04:05Z",
            "lastTimestamp": "2026-01-02T03:04:05Z",
            "count": 1,
            "source": {"component": "metallb-speaker"},
            "reportingComponent": "metallb-speaker",
            "reportingInstance": "n1",
            "action": "nodeAssigned",
            "reason": "nodeAssigned",
            "message": "announcing from node n1",
            "type": "Normal",
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Service",
                "namespace": "shop",
                "name": "web",
                "uid": "u1",
                "resourceVersion": "7",
            },
        }

    def test_a_long_note_is_cut_between_characters(self) -> None:
        note = str(body("é" * 2000)["message"])
        assert len(note.encode()) <= 1024
        assert note.rstrip("…") == "é" * (len(note) - 1)


class Refusing:
    """An API server and a log: refuses Events with these notes, and keeps what is logged of that."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.asked = asyncio.Semaphore(0)
        self.logged: list[tuple[str, str]] = []

    async def request(self, _verb: str, _kind: object, _namespace: str, *, body: bytes) -> bytes:
        note = msgspec.json.decode(body)["message"]
        self.asked.release()
        if note in self.refused:
            raise ApiError("create events shop", 403, "Forbidden", note)
        return b""

    def debug(self, _event: str, *, error: str, **_: object) -> None:
        self.logged.append(("debug", error))

    def warning(self, _event: str, *, error: str, **_: object) -> None:
        self.logged.append(("warning", error))


class TestRefused:
    def test_it_is_logged_when_it_begins(self) -> None:
        server = Refusing("one", "two", "four")
        events = Events(server, controller="metallb-speaker", instance="n1", log=server)  # type: ignore[arg-type]

        async def say() -> None:
            running = asyncio.get_running_loop().create_task(events.run())
            for note in ("one", "two", "three", "four"):
                events.say(SERVICE, "Normal", "nodeAssigned", note)
                await server.asked.acquire()
            running.cancel()

        asyncio.run(say())
        assert [level for level, _ in server.logged] == ["warning", "debug", "warning"]
        assert server.logged[0][1].startswith("create events shop: 403 Forbidden")
