"""Addresses that other hosts have are not given, nor those of which that is not known yet; nothing waits for long."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import islice

import pytest

from arpfast.spans import Span, Spans, Version
from cluster.probes import AT_MOST, Probed, Said, candidates, candidates_patch, probed, probed_patch, read
from cluster.resources import Key, Metadata, Object
from controller.free import Free
from controller.proving import PATIENCE_S
from tests.controller.cluster import Cluster, pool, reasons, service

STRANGER = "02:00:00:00:00:99"
FIRST = pool("first", "192.0.2.0/24", "2001:db8::/64")


def found(cluster: Cluster, *free: str, used: tuple[str, ...] = ()) -> None:
    """A speaker says so, and nobody else anything."""
    taken = {(span.version, span.first): STRANGER for span in map(Span.parse, used)}
    cluster.allocator.find([Said(Spans.parse(*free), taken)])
    cluster.take_turns()


def test_what_is_asked_is_what_comes_next() -> None:
    cluster = Cluster(FIRST, ahead=4)
    assert cluster.allocator.candidates() == Spans.parse("192.0.2.0-192.0.2.3", "2001:db8::-2001:db8::3")
    assert cluster.allocator.candidates() is None
    for number in range(2):
        cluster.apply(service(f"s{number}"))
    assert cluster.allocator.candidates() is None, "half of it is asked about still"
    cluster.apply(service("s2"))
    asked = cluster.allocator.candidates()
    assert asked
    assert asked.of_version(4) == Spans.parse("192.0.2.3-192.0.2.6")


def test_nothing_is_asked_of_who_does_not_want_it() -> None:
    assert Cluster(FIRST).allocator.candidates() is None


def test_no_speaker_holds_up_nothing() -> None:
    cluster = Cluster(FIRST, ahead=4)
    cluster.allocator.candidates()
    cluster.apply(service())
    assert cluster.addresses() == ("192.0.2.0",)


@pytest.mark.parametrize(("families", "got"), [((4,), ("192.0.2.1",)), ((6,), ("2001:db8::1",)), ((4, 6),
                         ("192.0.2.1", "2001:db8::1"))])  # fmt: skip
def test_what_another_host_has_is_not_given(families: tuple[int, ...], got: tuple[str, ...]) -> None:
    cluster = Cluster(FIRST, ahead=4)
    cluster.allocator.candidates()
    found(cluster, "192.0.2.1-192.0.2.3", "2001:db8::1-2001:db8::3", used=("192.0.2.0", "2001:db8::"))
    cluster.apply(service(families=families, policy="RequireDualStack" if len(families) > 1 else ""))
    assert cluster.addresses() == got
    assert cluster.allocator.inventory.quarantined("first") == 2
    found(cluster, "192.0.2.0/30", "2001:db8::/126")
    assert cluster.allocator.inventory.quarantined("first") == 0
    cluster.apply(service("next"))
    assert cluster.addresses("next") == ("192.0.2.0",)


def test_what_another_host_has_is_asked_about_until_it_is_free() -> None:
    cluster = Cluster(FIRST, ahead=4)
    cluster.allocator.candidates()
    found(cluster, "192.0.2.1-192.0.2.3", "2001:db8::/126", used=("192.0.2.0",))
    for number in range(8):
        cluster.apply(service(f"s{number}"))
    asked = cluster.allocator.candidates()
    assert asked
    assert ip_address("192.0.2.0") in asked


def test_who_waits_says_nothing_and_is_served_when_there_is_proof() -> None:
    cluster = Cluster(FIRST, ahead=4)
    found(cluster)
    outcome = cluster.apply(service())
    assert (outcome.assignment, reasons(outcome)) == (None, [])
    assert cluster.allocator.candidates() is not None
    found(cluster, "192.0.2.1")
    assert cluster.addresses() == ("192.0.2.1",)


def test_patience_ends() -> None:
    cluster = Cluster(FIRST, ahead=4)
    found(cluster)
    cluster.apply(service())
    assert cluster.allocator.proving.due_s == PATIENCE_S
    cluster.now_s = PATIENCE_S
    assert cluster.allocator.proving.overdue(cluster.now_s) == [Key("shop", "web")]
    cluster.converge(Key("shop", "web"))
    assert cluster.addresses() == ("192.0.2.0",)
    assert cluster.allocator.proving.due_s is None


def test_a_pool_of_which_others_have_all() -> None:
    cluster = Cluster(pool("small", "192.0.2.0/31"), ahead=4)
    found(cluster, used=("192.0.2.0", "192.0.2.1"))
    assert reasons(cluster.apply(service())) == ["AllocationFailed"]
    found(cluster, "192.0.2.1", used=("192.0.2.0",))
    assert cluster.addresses() == ("192.0.2.1",)


def test_the_later_word_counts() -> None:
    """A speaker that died while its Pod stays has said something else."""
    cluster = Cluster(FIRST, ahead=4)
    at: dict[str, dict[tuple[Version, int], str]] = {"0": {(4, 0xC0000200): STRANGER}, "1": {(4, 0xC0000201): STRANGER}}
    old, new = Said(Spans.parse("192.0.2.1"), at["0"], 1), Said(Spans.parse("192.0.2.0"), at["1"], 2)
    for said in ([old, new], [new, old]):
        cluster.allocator.find(said)
        assert [value for _, value in cluster.allocator.proving.used] == [0xC0000201]
    cluster.apply(service())
    assert cluster.addresses() == ("192.0.2.0",)


def test_what_is_asked_for_by_name() -> None:
    cluster = Cluster(FIRST, ahead=4)
    found(cluster, used=("192.0.2.9",))
    outcome = cluster.apply(service(ips="192.0.2.9"))
    assert STRANGER in outcome.notes[0].message
    found(cluster)
    assert cluster.addresses() == ("192.0.2.9",)
    cluster.apply(service("unproven", ips="192.0.2.8"))
    assert cluster.addresses("unproven") == ("192.0.2.8",)


def test_what_a_service_has_it_keeps_and_who_had_it_has_proven_it() -> None:
    cluster = Cluster(FIRST, ahead=4)
    cluster.apply(service(has=("192.0.2.0",)))
    found(cluster, used=("192.0.2.0",))
    assert cluster.addresses() == ("192.0.2.0",)
    cluster.restart()
    found(cluster, used=("192.0.2.0",))
    assert cluster.addresses() == ("192.0.2.0",)
    found(cluster)
    cluster.delete("web")
    cluster.apply(service("next"))
    assert cluster.addresses("next") == ("192.0.2.0",)


def test_size_does_not_matter() -> None:
    cluster = Cluster(pool("huge", "10.0.0.0/8", "::/1"), ahead=64)
    asked = cluster.allocator.candidates()
    assert asked == Spans.parse("10.0.0.0/26", "::/122")
    free = Free(1 << 24)
    for number in range(100_000):
        free.take(number)
    free.give_back(7)
    assert list(islice(free.ahead(), 2)) == [7, 100_000]


def test_many_pools_share_what_can_be_asked() -> None:
    cluster = Cluster(*(pool(f"p{at}", f"10.{at // 256}.{at % 256}.0/24") for at in range(3000)), ahead=64)
    asked = cluster.allocator.candidates()
    assert asked
    assert asked.size == 3000


def test_annotations() -> None:
    asked = Spans.parse("192.0.2.0-192.0.2.6", "192.0.2.9", "2001:db8::/126")
    metadata = annotated(candidates_patch(asked))
    assert candidates(metadata) == asked
    used: dict[tuple[Version, int], str] = {(4, 0xC0000209): STRANGER}
    said = Said(Spans.parse("192.0.2.0/30"), used, 1_800_000_000)
    assert probed(annotated(probed_patch(said))) == said


def annotated(patch: bytes) -> Object:
    import msgspec

    return Object(msgspec.json.decode(patch, type=dict[str, Metadata])["metadata"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"free": 5}', '{"used": {"x": 1}}', "\x00", "[" * 9999])
def test_what_is_no_finding_is_none(text: str) -> None:
    assert probed(Object(Metadata(annotations={"metallb.io/probed": text}))) == Said(Spans(), {})


def test_what_is_no_address_is_passed_over() -> None:
    assert read(["192.0.2.1", "x", "10.0.0.0/8", "192.0.2.3-192.0.2.2"]) == Spans.parse("192.0.2.1")
    assert AT_MOST * 40 < 200_000
    assert Probed() == Probed(0, (), {})
