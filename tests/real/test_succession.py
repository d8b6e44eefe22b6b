"""Owners that fall silent, and heirs that take over without Python: judged by a client's kernel and by the wire.

Three hosts on a switch: `owner`, `heir` and a client. No test asserts a time; the times are printed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

import pytest

from arpfast.responder import FactKind
from lab import Advertisement, Arp, Capture, Captured, Lab, Link, Solicitation, wait_until
from lab.frames import REQUEST
from lab.generator import Flood
from tests.real.member import DEADLINE_S, Member

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS4, OURS6 = "192.0.2.10", "2001:db8::10"
CLIENT4, CLIENT6 = "192.0.2.1", "2001:db8::1"
INTERVAL_MS, MISSES = 50, 8
"""Slower than in earnest: whatever holds up a busy machine for a third of a second must not look like a death."""


@dataclass
class Ring:
    """Who answers for OURS4 and OURS6, who inherits it, and who asks."""

    owner: Member
    heir: Member
    client: Link

    def forget(self) -> None:
        self.client.host.forget()

    def resolve(self, address: str = OURS4) -> bytes | None:
        return self.client.host.resolve(address, deadline_s=DEADLINE_S)

    def estate(self, *addresses: str, messages: str = "()") -> str:
        spans = ", ".join(map(repr, addresses))
        return f"Estate((({self.heir.link.index}, Table(own=Spans.parse({spans}))),), {messages})"

    def watch(self, address: str = OURS4, estate: str = "None", owner: Member | None = None) -> str:
        """The code of a watch on the owner."""
        value = ip_address(address)
        return (
            f"Watch({self.heir.link.index}, {value.version}, {int(value)}, {bytes((owner or self.owner).link.mac)!r}, "
            f"{INTERVAL_MS}, {MISSES}, {estate})"
        )

    def set_watches(self, *watches: str, shared: str = "None") -> None:
        """The estate that is `shared` by several watches is called so in their code."""
        self.heir.do(f"shared = {shared}; responder.set_watches([{', '.join(watches)}])")

    def wait_heard(self, answers: int = 3) -> None:
        """Until the owner has answered that often more than now."""
        before = self.totals()["answers"]
        wait_until(lambda: self.totals()["answers"] >= before + answers, DEADLINE_S, what="the owner to answer")

    def totals(self) -> dict[str, int]:
        names = ("questions", "answers", "silences", "suspensions", "inherited")
        code = ", ".join(f"{name!r}: watched.{name}" for name in names)
        told: dict[str, int] = self.heir.do(f"watched = responder.statistics().watched; answer = {{{code}}}")
        return told

    def message(self, kind: str, span: str, target: str | None = None) -> str:
        wanted = f", Span.parse({target!r}).first" if target else ""
        return f"Message(MessageKind.{kind}, {self.heir.link.index}, Span.parse({span!r}){wanted})"


@pytest.fixture(params=[{}])
def ring(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Ring]:
    """The parameter is the members' options; their threads run before all others, as those of real ones should."""
    switch = lab.switch()
    client = lab.host("client").link(switch, addresses=[f"{CLIENT4}/24", f"{CLIENT6}/64"])
    members = []
    for name in ("owner", "heir"):
        link = lab.host(name).link(switch)
        members.append(Member(link, **{"fifo": True, **request.param}))
        members[-1].answer("198.51.100.1", link_local=link.link_local.packed)
    owner, heir = members
    for one, other in ((owner, heir), (heir, owner)):
        one.do(f"responder.set_members([{bytes(other.link.mac)!r}])")
    owner.answer(OURS4, OURS6, link_local=owner.link.link_local.packed)
    yield Ring(owner, heir, client)
    for member in members:
        member.close()


def from_(link: Link) -> object:
    mac = link.mac
    return lambda frame: not frame.outgoing and frame.decoded is not None and frame.decoded.source == mac


def announced(ring: Ring, capture: Capture, address: str) -> Captured:
    """The heir's announcement, as the client hears it."""
    mac, wanted = ring.heir.link.mac, ip_address(address)

    def such(frame: Captured) -> bool:
        what = frame.decoded
        if isinstance(what, Arp):
            return what.source == mac and what.operation == REQUEST and what.spa == what.tpa == wanted
        return isinstance(what, Advertisement) and what.source == mac and what.target == wanted

    return capture.wait_for(such, DEADLINE_S)


def ms_after(frame: Captured, real_ns: int) -> str:
    return f"{(frame.time_ns - real_ns) / 1e6:.0f} ms"


@pytest.mark.parametrize("address", [OURS4, OURS6])
@pytest.mark.parametrize("death", ["stopped", "killed", "cut"])
def test_an_heir_answers_and_announces_when_the_owner_dies(ring: Ring, address: str, death: str) -> None:
    """Without a word from Python, which is told in the end."""
    messages = f"({ring.message('ANNOUNCE', address)},)"
    ring.set_watches(ring.watch(address, ring.estate(OURS4, OURS6, messages=messages)))
    ring.wait_heard()
    assert ring.resolve(address) == ring.owner.link.mac
    with ring.client.host.capture(ring.client) as capture:
        real_ns = time.time_ns()
        match death:
            case "stopped":
                ring.owner.stop()
            case "killed":
                ring.owner.kill()
            case _:
                ring.owner.link.down()
        announcement = announced(ring, capture, address)
        print(f"{death}: announced after {ms_after(announcement, real_ns)}")
    fact = ring.heir.wait_fact(FactKind.INHERITED)
    assert (fact["mac"], fact["address"]) == (str(ring.owner.link.mac), int(ip_address(address)))
    assert fact["span_ns"] > (MISSES - 1) * INTERVAL_MS * 1e6
    assert [fact["kind"] for fact in ring.heir.facts()][:2] == ["SILENT", "INHERITED"]
    assert ring.client.host.wait_neighbour(address, mac=ring.heir.link.mac)
    for one in (OURS4, OURS6):
        assert ring.resolve(one) == ring.heir.link.mac


def test_before_it_is_inherited_nothing_of_an_estate_is_answered(ring: Ring) -> None:
    """Nor is the owner's use of it a conflict."""
    ring.set_watches(ring.watch(estate=ring.estate(OURS4, OURS6)))
    ring.wait_heard()
    assert ring.resolve() == ring.owner.link.mac
    ring.owner.do(f"responder.send([Message(MessageKind.ANNOUNCE, {ring.owner.link.index}, Span.parse({OURS4!r}))])")
    before = ring.heir.verdicts("NOT_OURS")
    ring.client.host.inject(ring.client, Arp.request(ring.client.mac, CLIENT4, OURS4).encode())
    wait_until(lambda: ring.heir.verdicts("NOT_OURS") > before, DEADLINE_S, what="the question to be heard")
    assert ring.heir.verdicts("REPLY") == 0
    assert ring.heir.facts() == []


def test_the_router_is_asked_before_anything_is_announced_and_each_thing_once(ring: Ring) -> None:
    messages = (
        f"({ring.message('ASK', OURS4, CLIENT4)}, {ring.message('ASK', OURS6, CLIENT6)}, "
        f"{ring.message('ANNOUNCE', '192.0.2.10-192.0.2.209')}, {ring.message('ANNOUNCE', OURS6)})"
    )
    ring.set_watches(ring.watch(estate=ring.estate("192.0.2.10-192.0.2.209", OURS6, messages=messages)))
    ring.wait_heard()
    with ring.client.host.capture(ring.client) as capture:
        ring.owner.kill()
        announced(ring, capture, OURS6)
        said = [f.decoded for f in capture.frames() if f.decoded and f.decoded.source == ring.heir.link.mac]
    said = [
        what
        for what in said
        if (isinstance(what, Arp) and what.operation == REQUEST and what.spa != IPv4Address(0))
        or (isinstance(what, Solicitation) and what.target == ip_address(CLIENT6))
        or isinstance(what, Advertisement)
    ]
    assert isinstance(said[0], Arp)
    assert (said[0].spa, said[0].tpa) == (IPv4Address(OURS4), IPv4Address(CLIENT4))
    assert isinstance(said[1], Solicitation)
    assert (said[1].ip_source, said[1].target) == (ip_address(OURS6), ip_address(CLIENT6))
    assert [what.spa for what in said[2:-1] if isinstance(what, Arp)] == [
        IPv4Address("192.0.2.10") + number for number in range(200)
    ]
    assert isinstance(said[-1], Advertisement)
    assert ring.heir.wait_fact(FactKind.CONFIRMED, address=int(ip_address(OURS4)))["mac"] == str(ring.client.mac)
    assert ring.heir.wait_fact(FactKind.CONFIRMED, address=int(ip_address(OURS6)))["mac"] == str(ring.client.mac)


def test_an_owner_that_comes_back_is_heard_and_python_gives_back(ring: Ring) -> None:
    ring.set_watches(ring.watch(estate=ring.estate(OURS4, OURS6)))
    ring.wait_heard()
    ring.owner.stop()
    ring.heir.wait_fact(FactKind.INHERITED)
    assert ring.resolve() == ring.heir.link.mac
    ring.owner.go_on()
    assert ring.heir.wait_fact(FactKind.SPOKE)["mac"] == str(ring.owner.link.mac)
    assert ring.heir.do("answer = [(w.silent, w.inherited) for w in responder.statistics().watches]") == [[False, True]]
    assert ring.heir.wait_fact(FactKind.RIVAL)["mac"] == str(ring.owner.link.mac), "its answer to the watch"
    ring.set_watches(ring.watch())
    assert ring.resolve() == ring.owner.link.mac
    ring.owner.stop()
    ring.heir.wait_fact(FactKind.SILENT, 2)
    assert ring.totals()["inherited"] == 1, "this watch only tells"


def test_python_keeps_what_was_inherited_without_a_gap(ring: Ring) -> None:
    ring.set_watches(ring.watch(estate=ring.estate(OURS4)))
    ring.wait_heard()
    ring.owner.kill()
    ring.heir.wait_fact(FactKind.INHERITED)
    ring.heir.answer(OURS4, OURS6)
    ring.set_watches()
    for address in (OURS4, OURS6):
        assert ring.resolve(address) == ring.heir.link.mac


def test_two_owners_fall_at_once(lab: Lab, ring: Ring) -> None:
    switch_end = ring.client.peer
    assert switch_end
    second = Member(lab.host("second").link(switch_end.host))
    second.answer("192.0.2.77")
    ring.set_watches(
        ring.watch(OURS4, "shared"),
        ring.watch(OURS6, "shared"),
        ring.watch("192.0.2.77", ring.estate("192.0.2.77"), owner=second),
        shared=ring.estate(OURS4, OURS6),
    )
    ring.wait_heard(12)
    second.stop()
    ring.owner.stop()
    ring.heir.wait_fact(FactKind.INHERITED, 2)
    ring.heir.wait_fact(FactKind.SILENT, 3)
    assert [ring.resolve(one) for one in (OURS4, OURS6, "192.0.2.77")] == [ring.heir.link.mac] * 3
    assert ring.totals()["inherited"] == 2, "one estate is shared by two watches"
    ring.set_watches(ring.watch(OURS4, ring.estate(OURS4, OURS6)))
    second.go_on()
    assert ring.resolve("192.0.2.77") == second.link.mac
    second.close()


def test_who_was_never_heard_leaves_nothing(ring: Ring) -> None:
    """It may not have begun yet. Python is told, and may know better."""
    ring.owner.stop()
    ring.set_watches(ring.watch(estate=ring.estate(OURS4)))
    assert ring.heir.wait_fact(FactKind.SILENT)["span_ns"] == 0
    assert ring.totals()["inherited"] == 0


def test_another_estate_of_an_owner_that_was_heard_before_is_inherited(ring: Ring) -> None:
    """It changes with each address; the owner may die just then."""
    ring.set_watches(ring.watch(estate=ring.estate(OURS6)))
    ring.wait_heard()
    ring.owner.stop()
    ring.set_watches(ring.watch(estate=ring.estate(OURS4)))
    ring.heir.wait_fact(FactKind.INHERITED)
    assert ring.resolve() == ring.heir.link.mac


def test_our_own_cable_is_nobody_elses_death(ring: Ring) -> None:
    ring.set_watches(ring.watch(estate=ring.estate(OURS4)))
    ring.wait_heard()
    ring.heir.link.cut()
    end_s = time.monotonic() + 3 * MISSES * INTERVAL_MS / 1000
    wait_until(lambda: time.monotonic() > end_s, what="time to pass")
    ring.heir.link.mend()
    ring.wait_heard()
    assert ring.heir.facts(FactKind.SILENT) == []


def test_a_watch_waits_for_its_interface(lab: Lab, ring: Ring) -> None:
    index, mac = ring.heir.link.index, ring.owner.link.mac
    ring.heir.do(f"responder.drop_link({index})")
    ring.set_watches(ring.watch(estate=ring.estate(OURS4)))
    assert ring.totals()["questions"] == 0
    ring.heir.answer("198.51.100.1")
    ring.wait_heard()
    ring.owner.kill()
    assert ring.heir.wait_fact(FactKind.INHERITED)["mac"] == str(mac)


def test_no_false_alarm_while_every_core_is_busy(ring: Ring) -> None:
    busy = [ring.client.host.spawn(["sh", "-c", "while :; do :; done"]) for _ in range(4)]
    ring.set_watches(ring.watch(OURS4, ring.estate(OURS4)), ring.watch(OURS6))
    ring.wait_heard(60)
    for process in busy:
        process.close()
    totals = ring.totals()
    print(totals)
    assert totals["silences"] == totals["inherited"] == 0


@pytest.mark.parametrize("ring", [{"ring_frames": 256, "fifo": False}], indirect=True)
def test_an_observer_that_sees_a_flood_accuses_nobody_until_it_is_over(ring: Ring) -> None:
    """The flood is about the owner's addresses, so the heir hears it too; the owner falls silent in the midst of it."""
    ring.set_watches(ring.watch(estate=ring.estate(OURS4)))
    ring.wait_heard()
    flood = Flood.start(ring.client, OURS4, seconds=60, count_arrivals=False, engine="socket")
    ring.heir.wait_fact(FactKind.SUSPENDED)
    ring.owner.stop()
    before = ring.totals()["questions"]
    wait_until(lambda: ring.totals()["questions"] > before + 2 * MISSES, DEADLINE_S, what="it to go on asking")
    in_the_flood = ring.heir.facts()
    flood.stop()
    ring.heir.wait_fact(FactKind.RESUMED)
    ring.heir.wait_fact(FactKind.INHERITED)
    kinds = [fact["kind"] for fact in ring.heir.facts()]
    print(kinds, ring.totals())
    if "RESUMED" not in [fact["kind"] for fact in in_the_flood]:
        assert "SILENT" not in [fact["kind"] for fact in in_the_flood]
    assert kinds.index("SUSPENDED") < kinds.index("RESUMED") < kinds.index("SILENT") < kinds.index("INHERITED")


def test_who_was_frozen_accuses_nobody(ring: Ring) -> None:
    """The watched owner dies while the heir stands still, and again until Python has let it speak."""
    ring.heir.do("responder.set_lease(1000)")
    ring.set_watches(ring.watch(estate=ring.estate(OURS4)))
    ring.wait_heard()
    ring.heir.stop()
    ring.owner.stop()
    end_s = time.monotonic() + 2
    wait_until(lambda: time.monotonic() > end_s, what="time to pass")
    ring.heir.go_on()
    ring.heir.wait_fact(FactKind.FROZEN)
    questions = ring.totals()["questions"]
    end_s = time.monotonic() + 2 * MISSES * INTERVAL_MS / 1000
    wait_until(lambda: time.monotonic() > end_s, what="time to pass")
    assert ring.totals()["questions"] == questions
    assert ring.heir.facts(FactKind.SILENT) == []
    ring.heir.do("responder.resume()")
    ring.heir.wait_fact(FactKind.INHERITED)
    assert ring.resolve() == ring.heir.link.mac


@pytest.mark.parametrize("ring", [{"filtered": True, "limit": (1, 1, 1_000_000)}], indirect=True)
def test_the_kernel_lets_members_watch_and_heirs_begin(ring: Ring) -> None:
    """No filter or guard counts a watch, and the heir's filter has had the owner's addresses all along."""
    assert ring.heir.do("answer = filter_.statistics().unguarded") == {}
    messages = f"({ring.message('ASK', OURS4, CLIENT4)}, {ring.message('ANNOUNCE', OURS4)})"
    ring.set_watches(ring.watch(OURS4, "shared"), ring.watch(OURS6, "shared"),
                     shared=ring.estate(OURS4, OURS6, messages=messages))  # fmt: skip
    ring.wait_heard(20)
    assert ring.heir.facts() == []
    assert ring.owner.do("answer = [filter_.statistics().limited, filter_.statistics().guard_limited]") == [0, 0]
    ring.client.host.inject(ring.client, Arp.request(ring.client.mac, CLIENT4, OURS4).encode())
    wait_until(lambda: ring.heir.verdicts("NOT_OURS") > 0, DEADLINE_S, what="the question to pass the filter")
    ring.owner.kill()
    ring.heir.wait_fact(FactKind.INHERITED)
    ring.heir.wait_fact(FactKind.CONFIRMED)
    assert ring.resolve(OURS6) == ring.heir.link.mac
    ring.set_watches()
    before = ring.heir.do("answer = filter_.statistics().foreign")
    ring.client.host.inject(ring.client, Arp.request(ring.client.mac, CLIENT4, OURS4).encode())
    wait_until(
        lambda: ring.heir.do("answer = filter_.statistics().foreign") > before,
        DEADLINE_S,
        what="it to be foreign again",
    )


def test_a_kernel_answers_a_watch_as_well(ring: Ring) -> None:
    """So what is watched may be the address of a host itself."""
    index, mac = ring.heir.link.index, bytes(ring.client.mac)
    watches = [f"Watch({index}, {ip.version}, {int(ip)}, {mac!r})" for ip in map(ip_address, (CLIENT4, CLIENT6))]
    for watch in watches:
        ring.set_watches(watch)
        ring.wait_heard(5)
