"""Who is told of an address that comes from another member, and when."""

from __future__ import annotations

from ipaddress import ip_address

from arpfast.crossing import Asker, FactKind, MessageKind
from arpfast.duties import Answer
from arpfast.spans import Spans
from arpfast.telling import FRAMES_AT_MOST, RECENT_S
from tests.arpfast.stage import Stage, eth

ROUTER, CLIENT, OTHER = (bytes([2, 0, 0, 1, 0, number]) for number in (1, 7, 8))
TAKEN = Answer(Spans.parse("192.0.2.10"), settled=True)


def asker(mac: bytes, address: str, *, ago_s: float = 5.0, index: int = 2) -> Asker:
    parsed = ip_address(address)
    return Asker(mac, index, parsed.version, int(parsed), int((1000 - ago_s) * 1e9))


def stage(*askers: Asker) -> Stage:
    made = Stage(eth(gateways=(ip_address("192.0.2.1"),)))
    made.askers = askers
    return made


def told(made: Stage) -> list[tuple[bytes, str]]:
    return [
        (message.mac, str(ip_address(message.target))) for _, message in made.sent if message.kind is MessageKind.TELL
    ]


def test_recent_askers_are_told_after_the_router_and_before_everybody() -> None:
    made = stage(asker(CLIENT, "192.0.2.7"), asker(OTHER, "2001:db8::8"))
    made.want(TAKEN)
    assert [message.kind for _, message in made.sent] == [MessageKind.ASK, MessageKind.TELL, MessageKind.ANNOUNCE]
    assert told(made) == [(CLIENT, "192.0.2.7")]
    made.want(TAKEN, Answer(Spans.parse("2001:db8::10"), settled=True))
    assert told(made)[1:] == [(OTHER, "2001:db8::8")]


def test_neither_routers_nor_members_nor_who_asked_long_ago_or_elsewhere_are_told() -> None:
    made = stage(
        asker(ROUTER, "192.0.2.1"),
        asker(OTHER, "192.0.2.8"),
        asker(CLIENT, "192.0.2.7", ago_s=RECENT_S + 1),
        asker(CLIENT, "192.0.2.7", index=3),
    )
    made.duties.members(frozenset({OTHER}), made.now)
    made.want(TAKEN)
    assert told(made) == []


def test_what_is_new_to_the_ring_is_told_to_nobody() -> None:
    made = stage(asker(CLIENT, "192.0.2.7"))
    made.want("192.0.2.10")
    made.wait(5)
    assert made.links[2].own
    assert told(made) == []


def test_the_more_addresses_the_fewer_are_told() -> None:
    askers = [asker(bytes([2, 0, 0, 2, 0, number]), f"192.0.2.{100 + number}") for number in range(9)]
    for count, hosts in ((1, 9), (200, 5), (FRAMES_AT_MOST, 1), (FRAMES_AT_MOST + 1, 0)):
        made = stage(*askers)
        made.want(Answer(Spans.parse(f"10.0.0.0-10.0.{(count - 1) >> 8}.{(count - 1) & 255}"), settled=True))
        made.wait(1)
        assert dict(told(made)).keys() == {one.mac for one in askers[:hosts]}


def test_that_a_client_answers_does_not_confirm_that_the_router_has_heard() -> None:
    made = stage(asker(CLIENT, "192.0.2.7"))
    made.want(TAKEN)
    made.fact(FactKind.CONFIRMED, "192.0.2.10", CLIENT)
    assert made.on("192.0.2.10").confirmed == ()
    made.fact(FactKind.CONFIRMED, "192.0.2.10", ROUTER)
    assert [one.mac for one in made.on("192.0.2.10").confirmed] == [ROUTER.hex(":")]
    made.sent.clear()
    made.askers = (asker(ROUTER, "192.0.2.254"),)
    made.want(TAKEN, Answer(Spans.parse("192.0.2.11"), settled=True))
    assert told(made) == [], "expected who answers as a router to be asked only"
