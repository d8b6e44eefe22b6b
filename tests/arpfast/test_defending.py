"""What happens when another host uses an address of ours, by policy."""

from __future__ import annotations

import itertools

from arpfast.conflicts import ConflictPolicy
from arpfast.crossing import FactKind, MessageKind
from arpfast.inspection import Phase
from arpfast.probing import ProbeMode
from arpfast.spans import Spans
from tests.arpfast.stage import OTHER, V4, Stage, eth


def test_defend_announces_once_in_10_s_for_ever_and_tells_each_mac_once() -> None:
    stage = Stage(refresh_s=0, probe=ProbeMode.OFF, repeat=1)
    stage.want(V4)
    for _ in range(300):
        stage.wait(0.1)
        stage.fact(FactKind.CONFLICT, V4)
        stage.fact(FactKind.CONFLICT, V4, OTHER)
    defences = stage.times(MessageKind.ANNOUNCE)[1:]
    assert len(defences) == 3
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(defences))
    assert stage.on(V4).phase == Phase.ANSWERING
    assert sorted(str(e.fields["mac"]) for e in stage.said("uses an address of ours")) == [
        "02:00:00:00:ff:01",
        "02:00:00:00:ff:02",
    ]
    assert [conflict.frames for conflict in stage.on(V4).conflicts] == [300, 300]


def test_yield_defends_once_and_gives_the_address_up_if_it_goes_on() -> None:
    stage = Stage(refresh_s=0, probe=ProbeMode.OFF, repeat=1, conflict=ConflictPolicy.YIELD)
    stage.want(V4, "192.0.2.11")
    stage.fact(FactKind.CONFLICT, V4)
    stage.wait(10.1)
    stage.fact(FactKind.CONFLICT, V4)
    assert stage.on(V4).phase == Phase.ANSWERING
    assert len(stage.times(MessageKind.ANNOUNCE, V4)) == 3
    stage.wait(9)
    stage.fact(FactKind.CONFLICT, V4)
    assert (stage.on(V4).phase, stage.on(V4).taken_by) == (Phase.YIELDED, "02:00:00:00:ff:01")
    assert stage.links[2].own == Spans.parse("192.0.2.11")
    stage.wait(80)
    assert stage.on(V4).phase == Phase.ANSWERING


def test_report_only_reports() -> None:
    stage = Stage(refresh_s=0, probe=ProbeMode.OFF, repeat=1, conflict=ConflictPolicy.REPORT)
    stage.want(V4)
    for _ in range(30):
        stage.wait(1)
        stage.fact(FactKind.CONFLICT, V4)
    assert len(stage.times(MessageKind.ANNOUNCE)) == 1
    assert len(stage.said("uses an address of ours")) == 1


def test_our_own_other_interfaces_are_never_in_conflict_with_us() -> None:
    stage = Stage(eth(2), eth(3, up=False))
    stage.want(V4)
    stage.fact(FactKind.TAKEN, V4, eth(3).mac)
    stage.wait(1)
    stage.fact(FactKind.CONFLICT, V4, eth(3).mac)
    assert stage.on(V4).phase == Phase.ANSWERING
    assert not stage.on(V4).conflicts
    assert stage.links[2].kin == (eth(3).mac,)
