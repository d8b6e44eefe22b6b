"""A responder on a cable to a Linux peer: what the tests of the responder and of its thread share."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from arpfast.answer import Table, Verdict
from arpfast.responder import Fact, FactKind, LinkStatistics, Responder
from arpfast.spans import Spans
from lab import Advertisement, Arp, Capture, Captured, Lab, Link, Mac, wait_until
from lab.frames import REPLY

OURS = ("192.0.2.10", "2001:db8::10")
TABLE = Table(own=Spans.parse("192.0.2.10-192.0.2.99", "2001:db8::10-2001:db8::99"))
NONCE = b"nonce!"
STRANGER = Mac("02:00:00:ff:00:01")


@dataclass
class Stage:
    """We on `near`, whose host's kernel owns nothing; a peer with addresses on `far`."""

    lab: Lab
    responder: Responder
    near: Link
    far: Link

    def set_link(self, link: Link | None = None, table: Table | None = TABLE, mac: bytes | None = None) -> None:
        link = link or self.near
        link.host.call(
            self.responder.set_link, link.index, link.name, bytes(link.mac) if mac is None else mac,
            router=False, link_local=None, kin=(), nonce=NONCE, table=table,
        )  # fmt: skip

    def counts(self, link: Link | None = None) -> LinkStatistics:
        index = (link or self.near).index
        return next(found for found in self.responder.statistics().links if found.ifindex == index)

    def wait_verdict(self, verdict: Verdict, count: int = 1) -> None:
        wait_until(lambda: self.counts().verdicts[verdict] >= count, what=f"{count} {verdict.name}")

    def wait_fact(self, kind: FactKind) -> Fact:
        seen: list[Fact] = []

        def found() -> Fact | None:
            seen.extend(self.responder.facts())
            return next((fact for fact in seen if fact.kind == kind), None)

        fact = wait_until(found, what=f"a fact {kind.name}")
        assert fact
        return fact


def is_answer(frame: Captured) -> bool:
    """Seen from the peer: what bypasses the queueing discipline also bypasses a capture on our own side."""
    what = frame.decoded
    return not frame.outgoing and (
        isinstance(what, Advertisement) or (isinstance(what, Arp) and what.operation == REPLY)
    )


def answers(capture: Capture) -> list[Captured]:
    return capture.select(is_answer)


def request(target: str = OURS[0], **fields: bytes) -> bytes:
    return Arp.request(STRANGER, "192.0.2.1", target, **fields).encode()


def descriptors() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the lab's threads come and go, and what they open
            found.append(str(path.readlink()))
    return sorted(found)


def answering(lab: Lab) -> Iterator[Stage]:
    near = lab.host("us").link(lab.host("peer"), peer_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    assert near.peer
    with Responder() as responder:
        responder.start()
        stage = Stage(lab, responder, near, near.peer)
        stage.set_link()
        yield stage
