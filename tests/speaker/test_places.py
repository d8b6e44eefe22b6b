"""On which interfaces what is answered."""

from __future__ import annotations

from ipaddress import ip_interface

from arpfast.duties import Answer
from arpfast.interfaces import Interface
from arpfast.spans import NOTHING, Spans
from speaker.decide import Decision
from speaker.places import Places
from tests.speaker.cluster_of import ad, key
from tests.speaker.test_decide import at

ONE, TWO, SIX = at("10.20.30.1"), at("10.20.30.2"), at("2001:db8::1")
ALL = Spans([ONE, TWO, SIX])


def on(*interfaces: str, nodes: str = "ab") -> Decision:
    return Decision((key(),), ("a", "b"), 2, (ad("ad", nodes, interfaces=frozenset(interfaces)),))


def test_without_names_everything_is_answered_everywhere() -> None:
    places = Places("a")
    assert not places.learn({ONE: on(), TWO: on()}, {ONE, TWO})
    assert places.answers(ALL, Spans([TWO])) == [
        Answer(Spans([ONE, SIX]), settled=True),
        Answer(Spans([TWO])),
    ]
    assert places.restricted == NOTHING
    assert places.on("eth0", ALL) == ALL


def test_what_has_interfaces_of_its_own_is_answered_there() -> None:
    places = Places("a")
    decisions = {ONE: on("eth0"), TWO: on("eth1", "eth2"), SIX: on()}
    assert places.learn(decisions, list(decisions))
    assert places.answers(ALL, NOTHING) == [
        Answer(Spans([ONE]), interfaces=frozenset({"eth0"}), settled=True),
        Answer(Spans([TWO]), interfaces=frozenset({"eth1", "eth2"}), settled=True),
        Answer(Spans([SIX]), settled=True),
    ]
    assert places.on("eth0", ALL) == Spans([ONE, SIX])
    assert places.restricted == Spans([ONE, TWO])
    assert not places.learn(decisions, {ONE})
    assert places.learn({**decisions, ONE: on()}, {ONE})
    assert places.learn({SIX: on()}, {TWO})
    assert places.answers(ALL, NOTHING) == [Answer(ALL, settled=True)]


def test_what_others_answer_on_some_interfaces_is_known() -> None:
    places = Places("a")
    places.learn({ONE: on("eth0", nodes="b")}, {ONE})
    assert places.restricted == Spans([ONE])


def test_what_is_answered_where_there_is_no_carrier() -> None:
    """What is named to be answered there, and else what is on its subnet; not what another interface's subnet has."""

    def link(name: str, address: str, *, carrier: bool) -> Interface:
        return Interface(1, name, carrier=carrier, addresses=(ip_interface(address),))

    places = Places("a")
    decisions = {ONE: on("eth0"), TWO: on("eth0", "eth1"), SIX: on()}
    places.learn(decisions, list(decisions))
    well = [link("eth0", "10.20.30.9/24", carrier=True), link("eth1", "192.0.2.9/24", carrier=True)]
    assert places.stranded(well) == NOTHING
    cut = [link("eth0", "10.20.30.9/24", carrier=False), well[1]]
    stranded = places.stranded(cut)
    assert stranded & Spans([ONE, TWO, SIX]) == Spans([ONE])
    assert stranded.find(4, at("10.20.30.77").first), "it is on the subnet"
    assert places.stranded(well[1:]) == Spans([ONE]), "an interface that is not there has no carrier"
    twice = [*cut, link("eth2", "10.20.30.8/24", carrier=True)]
    assert not places.stranded(twice).find(4, at("10.20.30.77").first), "another one is on the same subnet"
