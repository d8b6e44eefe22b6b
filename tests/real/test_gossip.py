"""Rings of real processes, ours and hashicorp/memberlist's, together: what each of them sees of the others."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
from itertools import combinations, product
from typing import TYPE_CHECKING

import msgpack
import pytest

from arpfast.gossip.keys import Key, metallb
from arpfast.gossip.lzw import compress
from arpfast.gossip.messages import Alive, Kind, Suspect, encode
from arpfast.gossip.streams import framed, user
from arpfast.gossip.wire import Wire, compressed
from lab import Lab, wait_until
from lab.peers.memberlist import METALLB, Gossiper, newest, ours, theirs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host

DEADLINE_S = 30.0
pytestmark = pytest.mark.timeout(600)  # the first one of these ever builds the Go programs
QUICK = ("-probe", "200", "-timeout", "100", "-gossip", "50", "-exchange", "2000", "-dead", "3000", "-reclaim", "1000")
"""For the Go members, so that a death takes them little more than a second."""
EXCHANGE = "push_pull_interval_s=2"


class Stand:
    """Members in one host, each with an address of its own on its loopback."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.members: dict[str, Gossiper] = {}
        self.gone: list[Gossiper] = []
        self.go: tuple[str, ...] = ()
        self.own: tuple[str, ...] = ()

    def ours(self, name: str, number: int, *options: str, join: int | None = 1) -> Gossiper:
        others = ("--join", f"127.0.0.{join}") if join and join != number else ()
        given = ("--bind", f"127.0.0.{number}", "--set", EXCHANGE, *self.own, *others, *options)
        return self._add(name, ours(self.host, name, *given))

    def theirs(self, name: str, number: int, *options: str, version: str = METALLB, join: int = 1) -> Gossiper:
        others = ("-join", f"127.0.0.{join}:7946") if join != number else ()
        return self._add(
            name, theirs(self.host, name, version, "-bind", f"127.0.0.{number}", *QUICK, *self.go, *others, *options)
        )

    def _add(self, name: str, member: Gossiper) -> Gossiper:
        if before := self.members.pop(name, None):
            self.gone.append(before)
        self.members[name] = member
        return member

    def wait_whole(self) -> None:
        """All see all others alive."""
        for member in self.members.values():
            member.wait_states({name: "ALIVE" for name in self.members if name != member.name})

    def wait_seen(self, name: str, state: str) -> None:
        """All others see this of one; Go calls those who left dead, too."""
        for member in self.members.values():
            if member.name != name:
                member.wait_states({name: "DEAD" if member.go and state == "LEFT" else state})

    def remove(self, name: str) -> Gossiper:
        """It is no longer expected to see anything."""
        member = self.members.pop(name)
        self.gone.append(member)
        return member

    def close(self) -> None:
        for member in (*self.members.values(), *self.gone):
            member.close()


@pytest.fixture
def stand(lab: Lab) -> Iterator[Stand]:
    stand = Stand(lab.host())
    with contextlib.closing(stand):
        yield stand


def keys_of(size: int) -> str:
    return bytes(range(size)).hex()


LAYERS = list(zip(product([False, True], [False, True], ["", "ring"]), [16, 24, 32, 16, 24, 32, 16, 24], strict=True))


@pytest.mark.parametrize(("layers", "key_size"), LAYERS)
def test_a_ring_of_both_whatever_is_around_the_messages(
    stand: Stand, layers: tuple[bool, bool, str], key_size: int
) -> None:
    sealed, small, label = layers
    if sealed:
        stand.own += ("--keys", keys_of(key_size))
        stand.go += ("-keys", keys_of(key_size))
    if label:
        stand.own += ("--label", label)
        stand.go += ("-label", label)
    ours_1 = stand.ours("ours-1", 1, *(["--compress"] if small else []), "--state", "state of ours-1")
    go_1 = stand.theirs("go-1", 2, *(["-compress"] if small else []))
    go_2 = stand.theirs("go-2", 3, "-compress", "-state", "state of go-2", version=newest(), join=2)
    ours_2 = stand.ours("ours-2", 4, join=3)
    stand.wait_whole()
    assert ours_2.addresses()["go-1"] == "127.0.0.2"

    ours_1.tell("meta", "of-ours")
    go_1.tell("meta", "of-go")
    go_2.wait_event("update", name="ours-1", meta="of-ours")
    ours_2.wait_event("changed", name="go-1", meta="of-go")
    go_2.tell("broadcast", "news-of-go")
    ours_1.tell("send", "go-1", "hello")
    ours_1.tell("send", "go-2", "x" * 5000)
    go_1.tell("send", "ours-2", "y" * 5000)
    ours_1.tell("exchange", "go-2")
    go_1.wait_event("heard", payload="hello")
    go_2.wait_event("heard", bytes=5000)
    ours_2.wait_event("heard", bytes=5000)
    wait_until(
        lambda: any(each.events("heard") and "news-of-go" in str(each.events("heard")) for each in (ours_1, ours_2)),
        DEADLINE_S, what="one of ours to hear the news of a Go member",
    )  # fmt: skip
    ours_1.wait_event("merged", state="state of go-2")
    go_2.wait_event("merged", state="state of ours-1")

    ours_1.tell("leave")
    assert ours_1.wait_event("left")["in_time"]
    stand.remove("ours-1").kill()
    stand.wait_seen("ours-1", "LEFT")
    go_1.tell("leave")
    stand.remove("go-1").kill()
    stand.wait_seen("go-1", "LEFT")
    counted = ours_2.show()
    assert counted["refused_malformed"] == counted["refused_key"] == counted["refused_label"] == 0
    assert not ours_2.events("conflict")


def test_old_encryption_is_read_too(stand: Stand) -> None:
    """Protocol version 1 pads to blocks, and does not tell ports."""
    stand.own, stand.go = ("--keys", keys_of(32)), ("-keys", keys_of(32))
    stand.theirs("go", 1, "-protocol", "1")
    stand.ours("ours", 2)
    stand.wait_whole()
    assert stand.members["ours"].show()["refused_key"] == 0


def test_a_ring_with_the_speakers_of_metallb(stand: Stand) -> None:
    """No delegate, no label, the default timing of a LAN, and their rule for a key."""
    secret = b"CWr2wOcdo6DOPCWDBeLoOQ"
    key = metallb(secret).hex()
    stand.theirs("speaker-1", 1, "-bare", "-keys", key)
    stand.theirs("speaker-2", 2, "-bare", "-keys", key, "-compress")
    mine = stand.ours("ours", 3, "--keys", key, "--timing", "LAN", "--state", "what they do not know")
    stand.wait_whole()
    mine.tell("broadcast", "what-they-ignore")
    before = mine.show()["exchanges"]
    mine.tell("exchange", "speaker-1")
    mine.tell("send", "speaker-2", "z" * 3000)
    wait_until(lambda: mine.show()["exchanges"] > before, DEADLINE_S, what="an exchange")
    assert mine.show()["exchanges_failed"] == 0  # later, one may be with whom we kill
    stand.members["speaker-2"].kill()
    stand.remove("speaker-2")
    stand.wait_seen("speaker-2", "DEAD")


def test_who_dies_freezes_leaves_and_comes_back_elsewhere_is_seen_so_by_both(stand: Stand) -> None:
    stand.ours("ours-1", 1)
    stand.theirs("go-1", 2)
    stand.theirs("go-2", 3, version=newest())
    stand.ours("ours-2", 4)
    stand.wait_whole()
    for name, number in (("ours-2", 4), ("go-2", 3)):
        start = stand.ours if name.startswith("ours") else stand.theirs
        frozen = stand.members[name]
        frozen.freeze()
        stand.wait_seen(name, "DEAD")
        frozen.thaw()
        stand.wait_whole()
        stand.remove(name).kill()
        stand.wait_seen(name, "DEAD")
        start(name, number)
        stand.wait_whole()
        stand.members[name].tell("leave")
        stand.wait_seen(name, "LEFT")
        stand.remove(name).kill()
        start(name, number + 20)
        stand.wait_whole()
        for member in stand.members.values():
            assert member.addresses().get(name, f"127.0.0.{number + 20}") == f"127.0.0.{number + 20}"


@pytest.mark.parametrize("side", ["ours", "go"])
def test_a_dead_name_comes_back_with_another_address(stand: Stand, side: str) -> None:
    stand.ours("ours-1", 1)
    stand.theirs("go-1", 2)
    name, start = f"{side}-2", stand.ours if side == "ours" else stand.theirs
    start(name, 3)
    stand.wait_whole()
    stand.remove(name).kill()
    stand.wait_seen(name, "DEAD")
    start(name, 33)
    stand.wait_whole()
    assert stand.members["ours-1"].addresses()[name] == "127.0.0.33"


def test_a_ring_of_twenty(stand: Stand) -> None:
    for number in range(1, 4):
        stand.ours(f"ours-{number}", number)
    for number in range(4, 21):
        stand.theirs(f"go-{number}", number, version=newest() if number % 2 else METALLB, join=number % 3 + 1)
    stand.wait_whole()
    for name in ("go-7", "ours-2"):
        stand.remove(name).kill()
        stand.wait_seen(name, "DEAD")


def test_keys_are_changed_in_a_live_ring_of_both_without_losing_anybody(stand: Stand) -> None:
    old, new = keys_of(32), bytes(32).hex()
    stand.own, stand.go = ("--keys", old), ("-keys", old)
    stand.ours("ours-1", 1)
    stand.theirs("go-1", 2)
    stand.ours("ours-2", 3)
    stand.wait_whole()
    before = {name: len(member.events("changed")) for name, member in stand.members.items()}
    for mine, verb in ((f"{old},{new}", "add-key"), (f"{new},{old}", "use-key"), (new, "remove-key")):
        for member in stand.members.values():
            member.tell(verb, old if verb == "remove-key" else new) if member.go else member.tell("keys", mine)
        for member in stand.members.values():
            if not member.go:  # probes go on, and are answered, under the keys of this step
                probes = member.show()["probes"]
                wait_until(lambda: member.show()["probes"] > probes + 6, DEADLINE_S, what="more probes")  # noqa: B023
    stand.theirs("go-2", 4, "-keys", new)
    stand.members["ours-1"].wait_states({"go-2": "ALIVE"})
    for name, member in stand.members.items():
        if name in before and not member.go:
            news = member.events("changed")[before[name] :]
            assert not [each for each in news if each["state"] in {"DEAD", "LEFT"}]
            assert member.show()["refused_key"] == 0


def test_other_keys_and_labels_and_none_stay_outside(stand: Stand) -> None:
    inside = stand.ours("inside", 1, "--keys", keys_of(32), "--label", "ring")
    for number, options in enumerate((("-keys", keys_of(16), "-label", "ring"), ("-label", "ring"), ()), 2):
        other = stand.theirs(f"go-{number}", number, *options)
        other.wait_event("not joined")
    plain = stand.ours("plain", 7)
    wait_until(lambda: plain.show()["missing"], DEADLINE_S, what="it to say why it could not join")
    shown = inside.show()
    assert set(shown["members"]) == {"inside"}
    assert shown["refused_key"]
    assert shown["refused_label"]
    assert plain.show()["missing"].keys() == {"127.0.0.1:7946"}


def test_members_that_are_not_there_yet_are_joined_when_they_come(stand: Stand) -> None:
    early = stand.ours("early", 1, "--join", "127.0.0.1,127.0.0.2,127.0.0.3:7946,nobody.invalid", join=None)
    wait_until(lambda: len(early.show()["missing"]) == 3, DEADLINE_S, what="the three to be missed")
    assert "refused" in early.show()["missing"]["127.0.0.2:7946"]
    stand.theirs("go", 2, join=2)
    stand.ours("ours", 3, join=None)
    stand.wait_whole()
    wait_until(lambda: set(early.show()["missing"]) == {"nobody.invalid:7946"}, DEADLINE_S, what="one to be missed")
    early.tell("join", "127.0.0.2")
    wait_until(lambda: not early.show()["missing"], DEADLINE_S, what="nobody to be missed")


@pytest.mark.parametrize("family", [4, 6])
def test_hosts_that_bind_all_advertise_what_the_others_reach_and_a_partition_heals(lab: Lab, family: int) -> None:
    """One configuration for all of them, as for one YAML file."""
    switch = lab.switch()
    addresses = [f"192.0.2.{n}" if family == 4 else f"2001:db8::{n}" for n in (1, 2, 3)]
    hosts, links = [], []
    for address in addresses:
        host = lab.host()
        links.append(host.link(switch, addresses=[f"{address}/{24 if family == 4 else 64}"]))
        hosts.append(host)
    join = ",".join(addresses)
    members = [
        ours(host, f"m{n}", "--bind", "0.0.0.0" if family == 4 else "::", "--join", join)
        for n, host in enumerate(hosts, 1)
    ]
    try:
        for member, other in combinations(members, 2):
            member.wait_states({other.name: "ALIVE"})
            other.wait_states({member.name: "ALIVE"})
            assert member.addresses()[other.name] == addresses[members.index(other)]
        assert links[2].peer
        links[2].peer.down()
        members[0].wait_states({"m3": "DEAD", "m2": "ALIVE"})
        members[2].wait_states({"m1": "DEAD", "m2": "DEAD"})
        links[2].peer.up()
        for member, other in combinations(members, 2):
            member.wait_states({other.name: "ALIVE"})
            other.wait_states({member.name: "ALIVE"})
    finally:
        for member in members:
            member.close()


def test_a_condemned_suspect_is_dead_at_once(stand: Stand) -> None:
    first = stand.ours("ours-1", 1)
    stand.ours("ours-2", 2)
    stand.theirs("go", 3)
    stand.wait_whole()
    first.tell("condemn", "ours-2")
    assert not first.events("condemned")[-1]["was"]
    stand.members["ours-2"].freeze()
    first.wait_states({"ours-2": "SUSPECT"})
    first.tell("condemn", "ours-2")
    assert first.events("condemned")[-1]["was"]
    stand.wait_seen("ours-2", "DEAD")
    stand.members["ours-2"].thaw()
    stand.wait_whole()


def hostile_packets() -> list[bytes]:
    draw = random.Random(4)
    bomb = b"\x09" + msgpack.packb({"Algo": 0, "Buf": compress(bytes(8 << 20))}, use_bin_type=False)
    nested = encode(Suspect(1, "ours", "x"))
    for _ in range(40):
        nested = compressed(nested)
    packets = [b"", b"\x04", b"\x07\xff" + bytes(600), b"\x0c\x00", bomb[:60000], nested, b"\xf4\xff", b"\x00" * 9000]
    packets += [encode(Alive(1, f"ghost-{n}", bytes(4), 0)) for n in range(50)]
    packets += [draw.randbytes(draw.randrange(1, 1400)) for _ in range(2000)]
    packets += [bytes([draw.choice(list(Kind))]) + draw.randbytes(draw.randrange(1, 300)) for _ in range(3000)]
    return packets


def test_hostile_packets_and_streams_neither_stop_nor_grow_a_member(stand: Stand) -> None:
    target = stand.ours("ours", 1)
    stand.ours("other", 2)
    stand.wait_whole()
    before = target.process.rss_bytes()
    with stand.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for packet in hostile_packets():
            sending.sendto(packet, ("127.0.0.1", 7946))
    bomb = b"\x09" + msgpack.packb({"Algo": 0, "Buf": compress(bytes(64 << 20))}, use_bin_type=False)
    streams = [
        b"\x06" + msgpack.packb({"Nodes": 1 << 20, "UserStateLen": 1 << 30}),
        b"\x0a" + struct.pack(">I", 1 << 31),
        b"\x00\xdd\xff\xff\xff\xff",
        bomb,
        b"\x06" + os.urandom(100_000),
        b"\x08" + msgpack.packb({"UserMsgLen": 8_000_000}) + bytes(1 << 20),
        framed(Wire(keys=[Key(bytes(16))]), user(b"x")),
        b"",
    ]
    with contextlib.ExitStack() as stack:
        for data in streams * 8:
            stream = stack.enter_context(stand.host.socket(socket.AF_INET, socket.SOCK_STREAM))
            stream.settimeout(DEADLINE_S)
            stream.connect(("127.0.0.1", 7946))
            with contextlib.suppress(ConnectionError):
                stream.sendall(data)
        wait_until(lambda: target.show()["refused_too_large"] > 0, DEADLINE_S, what="the large ones to be refused")
        assert target.process.rss_bytes() - before < 64 << 20
    shown = target.show()
    assert shown["refused_malformed"] > 100
    stand.theirs("go", 3)
    stand.wait_whole()
    assert target.process.alive
