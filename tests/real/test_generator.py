"""The generators against an answerer that is known to work: what they count must be so, whatever the pace was."""

from ipaddress import ip_address

import pytest

from lab import Advertisement, Arp, Lab, Link, Solicitation, peers, wait_until
from lab.generator import MAC, SOURCE_4, SOURCE_6, Flood, time_lone
from lab.native import compiled

RANGES = pytest.mark.parametrize(
    ("first", "last"), [("198.51.100.0", "198.51.101.255"), ("2001:db8::1:fe80", "2001:db8::2:7f")]
)


@pytest.fixture
def link(lab: Lab) -> Link:
    """The asker's end of a cable."""
    return lab.host("asker").link(lab.host("answerer"))


def _answer(link: Link, first: str, last: str) -> None:
    assert link.peer
    link.peer.host.spawn([compiled("peers/cloop.c"), link.peer.name, first, last]).wait_for_line("ready")


@RANGES
@pytest.mark.parametrize("engine", ["xdp", "socket"])
def test_a_paced_flood_is_answered_and_counted(link: Link, first: str, last: str, engine: str) -> None:
    _answer(link, first, last)
    flooded = Flood.start(
        link, first, 512, engine="socket" if engine == "socket" else "xdp", rate_per_s=2000, seconds=0.25, sources=3
    ).wait()
    assert 0 < flooded.offered <= 0.25 * 2000 * 1.5
    assert flooded.wrong == 0
    assert flooded.replies == flooded.offered
    assert flooded.arp_replies == (flooded.offered if "." in first else 0)
    assert flooded.arrived == (flooded.offered if engine == "xdp" else 0)


@RANGES
def test_every_question_is_a_frame_that_the_oracle_reads(link: Link, first: str, last: str) -> None:
    assert link.peer
    with link.peer.host.capture(link.peer) as capture:
        flooded = Flood.start(link, first, 512, rate_per_s=4000, seconds=0.25, sources=2, stride=256).wait()
        frames = [frame.decoded for frame in capture.frames()]
    asked = [frame for frame in frames if frame is not None and frame.source[:2] == MAC[:2]]
    assert len(asked) == flooded.offered
    for number, question in enumerate(asked):
        assert not question.tags
        assert int.from_bytes(question.source, "big") - int.from_bytes(MAC, "big") == number % 2
        target = str(ip_address(first) + (number % 512) * 256)
        if isinstance(question, Arp):
            assert question == Arp.request(question.source, SOURCE_4 + number % 2, target)
        else:
            assert question == Solicitation.ask(question.source, SOURCE_6 + number % 2, target)


def test_flat_out_it_offers_more_than_is_answered_and_the_polite_source_is_told_apart(link: Link) -> None:
    _answer(link, "198.51.100.0", "198.51.103.255")
    flooded = Flood.start(link, "198.51.100.0", 1024, random=True, seconds=0.5, polite_every_s=0.01).wait()
    assert flooded.offered >= flooded.arrived >= flooded.replies > 0
    assert flooded.polite_asked >= flooded.polite_answered
    assert flooded.polite_asked > 0


def test_answers_to_others_pass_the_collector(link: Link) -> None:
    """So that a real client can ask on the same interface while it is flooded from."""
    _answer(link, "198.51.100.0", "198.51.100.255")
    flood = Flood.start(link, "198.51.100.0", 16, rate_per_s=100, seconds=30)
    with link.host.capture(link) as capture:
        link.host.inject(link, Arp.request(link.mac, "192.0.2.1", "198.51.100.9").encode())
        reply = capture.wait_for(lambda frame: isinstance(frame.decoded, Arp) and not frame.outgoing)
    assert reply.decoded
    assert reply.decoded.destination == link.mac
    assert flood.stop().wrong == 0


def _has_program(link: Link) -> bool:
    return "IFLA_XDP_PROG_ID" in str(link.host.netlink("get_links", link.index)[0].get_attr("IFLA_XDP"))


def test_a_flood_leaves_no_program_behind(link: Link) -> None:
    assert link.peer
    ends = (link, link.peer)
    flood = Flood.start(link, "198.51.100.0", rate_per_s=100, seconds=30)
    assert all(_has_program(end) for end in ends)
    flood.stop()
    wait_until(lambda: not any(_has_program(end) for end in ends), what="the programs to be gone")


@RANGES
@pytest.mark.parametrize("spin", [False, True])
def test_lone_requests_are_timed(link: Link, first: str, last: str, spin: bool) -> None:
    _answer(link, first, last)
    latency = time_lone(link, first, 512, asks=20, interval_s=0.0005, spin=spin)
    assert latency.answered == latency.asked == 20
    assert 0 < latency.min_ns <= latency.median_ns <= latency.p99_ns <= latency.max_ns


def test_lone_requests_without_an_answer_are_not_counted(link: Link) -> None:
    assert time_lone(link, "198.51.100.1", asks=2).answered == 0


def test_the_yardstick_answers_duplicate_address_detection_to_all_nodes(link: Link) -> None:
    _answer(link, "2001:db8::1", "2001:db8::1")
    with link.host.capture(link) as capture:
        link.host.inject(link, Solicitation.ask(link.mac, "::", "2001:db8::1").encode())
        answer = capture.wait_for(lambda frame: isinstance(frame.decoded, Advertisement)).decoded
    assert link.peer
    assert answer == Advertisement.tell(link.peer.mac, "2001:db8::1", override=True)


def test_a_flood_that_cannot_start_says_why(link: Link) -> None:
    finished = link.host.run([compiled("generator/flood.c"), "interface=nowhere", f"frame={'00' * 60}"], check=False)
    assert (finished.status, finished.stderr) == (1, "nowhere: No such device\n")


def test_a_flood_can_doze_between_batches(link: Link) -> None:
    _answer(link, "198.51.100.0", "198.51.100.255")
    flooded = Flood.start(
        link, "198.51.100.0", 16, engine="socket", rate_per_s=2000, doze_s=0.01, seconds=0.25
    ).wait()  # fmt: skip
    assert flooded.replies == flooded.offered > 0


def test_frames_reach_a_program_that_is_not_native_once_gro_is_on(link: Link) -> None:
    assert link.peer
    peers.reflector(link.peer, generic=True)
    link.peer.set_gro(True)
    flooded = Flood.start(link, "198.51.100.0", 512, rate_per_s=4000, seconds=0.25, count_arrivals=False).wait()
    assert flooded.replies == flooded.offered > 0
