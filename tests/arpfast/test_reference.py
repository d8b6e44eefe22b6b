"""The C against its plain Python reference: valid frames, bent in a few places, must mean the same to both."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from arpfast.answer import answer
from tests.arpfast import reference
from tests.arpfast.scene import (
    ADDRESSES,
    ALL_NODES,
    HIM4,
    HIM6,
    INTERFACE,
    LINK,
    NONCE,
    OWN4,
    OWN6,
    PROXY4,
    PROXY6,
    TABLE,
    TENTATIVE4,
    TENTATIVE6,
)
from tests.arpfast.wire import BROADCAST, HIS_MAC, KIN_MAC, MEMBER_MAC, OUR_MAC, ZERO, arp, ip, na, ns, option

MACS = st.sampled_from([HIS_MAC, HIS_MAC, OUR_MAC, KIN_MAC, MEMBER_MAC, ZERO, BROADCAST])
IPV4 = st.sampled_from([OWN4, HIM4, TENTATIVE4, PROXY4, "0.0.0.0", "224.0.0.1", "127.0.0.1", "255.255.255.255"])
IPV6 = st.sampled_from([OWN6, HIM6, TENTATIVE6, PROXY6, "::", "::1", "ff02::1", "::5"])
OPTIONS = st.lists(
    st.builds(option, st.sampled_from([1, 2, 14, 200]), st.sampled_from([HIS_MAC, NONCE, ZERO, bytes(14)]))
    | st.builds(option, st.just(1), MACS, st.sampled_from([0, 1, 1, 1, 2, 255])),
    max_size=4,
).map(b"".join)
ARP = st.builds(
    arp, IPV4, IPV4, op=st.sampled_from([1, 1, 2, 0, 3]), sha=MACS, to=MACS, pad=st.sampled_from([42, 60, 100])
)
NS = st.builds(
    ns,
    IPV6,
    IPV6,
    slla=st.none() | MACS,
    mac=MACS,
    options=OPTIONS,
    destination=st.none() | IPV6.map(ip),
    hop_limit=st.sampled_from([255, 255, 255, 64]),
    tail=st.sampled_from([b"", b"\1\2\3"]),
)
NA = st.builds(
    na, IPV6, IPV6, IPV6, tlla=st.none() | MACS, mac=MACS, flags=st.sampled_from([0, 0x20, 0x60, 0xE0]), options=OPTIONS
)


def same(frame: bytes, capacity: int = 2048) -> None:
    outcome = answer(TABLE, LINK, frame, capacity=capacity)
    got = reference.Answered(outcome.verdict.name, *outcome[1:])
    assert got == reference.answer(ADDRESSES, INTERFACE, frame, capacity)


@settings(max_examples=600)
@given(ARP | NS | NA, st.sampled_from([2048, 2048, 86, 85, 60, 59, 0]))
def test_whole_frames(frame: bytes, capacity: int) -> None:
    same(frame, capacity)


@settings(max_examples=1000)
@given(ARP | NS | NA, st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=3), st.integers(0, 120))
def test_bent_and_cut_frames(frame: bytes, bends: list[tuple[int, int]], cut: int) -> None:
    bent = bytearray(frame)
    for at, value in bends:
        if at < len(bent):
            bent[at] = value
    same(bytes(bent))
    same(bytes(bent[:cut]))


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_noise(frame: bytes) -> None:
    same(frame)
    same(OUR_MAC + HIS_MAC + b"\x86\xdd" + frame)
    same(BROADCAST + HIS_MAC + b"\x08\x06" + frame)


@settings(max_examples=200)
@given(st.integers(180, 200), st.integers(0, 3))
def test_many_options(count: int, extra: int) -> None:
    same(ns(HIM6, OWN6, destination=ALL_NODES, options=option(200, bytes(6)) * count + bytes(8) * (extra == 0)))
