"""What people read, off a terminal: no colours, nothing cut, no markup taken from what others chose."""

import re
import time
from typing import Any

import pytest

from arpfast import tables
from arpfast.check import Finding

LINK: dict[str, Any] = {
    "interface": "eth0[red]", "answering": 2, "proxying": 1 << 64, "probing": 0, "waiting": 0, "taken": 0, "yielded": 0,
    "verdicts": {"reply": 1234567}, "drops": 3, "backend": "tc", "why": "xdp: [it] is there",
}  # fmt: skip
STATUS: dict[str, Any] = {
    "version": "0.1.0", "pid": 7, "started_unix_s": time.time() - 7200, "ready": True, "links": [LINK],
    "config": {"path": "/etc/arpfast.yaml", "loaded_unix_s": time.time(), "stale": None, "needs_restart": []},
    "addresses": {"own": 2, "proxied": 1 << 64}, "filter": {"kind": "classic"},
}  # fmt: skip
ABSENT: dict[str, Any] = {
    "interface": "lo", "phase": "absent", "since_unix_s": None, "why": "the interface is a loopback",
    "taken_by": None, "retry_in_s": None, "conflicts": [], "confirmed": [],
}  # fmt: skip
EXPLANATION: dict[str, Any] = {
    "address": "192.0.2.1", "wanted": True, "proxied": False, "kernel_interfaces": [], "last_asked": None,
    "ring": None, "checks": [],
    "links": [ABSENT, {**ABSENT, "interface": "eth0", "phase": "taken", "why": "02:00 uses it", "retry_in_s": 61.0}],
}  # fmt: skip


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    assert said.err == ""
    assert "\x1b" not in said.out
    return said.out


def test_findings(capsys: pytest.CaptureFixture[str]) -> None:
    long = "/a/very/long/path" * 30
    tables.show_findings([Finding("one", "ok", "fine"), Finding("two", "fail", long, "[bold]do[/bold]")])
    said = shown(capsys)
    assert long in said
    assert "[bold]do[/bold]" in said
    assert said.splitlines()[-1] == "1 would fail"
    tables.show_findings([Finding("one", "warn", "hm", "think")])
    assert shown(capsys).splitlines()[-1] == "it would work, 1 to think about"


def test_status(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_status(STATUS)
    said = shown(capsys)
    assert "started 2 h ago: 2 own addresses, 2^64 proxied" in said
    assert "eth0[red]" in said
    assert "1 234 567" in said
    assert "filter: classic" in said
    assert "eth0[red]: tc, since xdp: [it] is there" in said
    counted = {"kind": "ebpf", "passed": 10, "foreign": 20, "limited": 3, "guard_limited": 4}
    tables.show_status({**STATUS, "filter": counted})
    assert "filter: eBPF, 10 frames let through, 20 not for us, 7 over the rate limit" in shown(capsys)
    stale = {"since_unix_s": time.time(), "errors": ["f:1: adresses: unknown field"]}
    config = {**STATUS["config"], "stale": stale, "needs_restart": ["metrics"]}
    tables.show_status({**STATUS, "config": config, "links": [], "ready": False})
    said = shown(capsys)
    assert "stale since" in said
    assert "f:1: adresses: unknown field" in said
    assert "after a restart only: metrics" in said
    assert "no interface that can be used" in said


def test_explanation(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_explanation(EXPLANATION)
    said = shown(capsys)
    assert said.startswith("192.0.2.1 is not answered\n")
    assert "02:00 uses it; tried again in 61 s" in said
    assert "the interface is a loopback" in said
    link = {
        **ABSENT, "interface": "eth0", "phase": "answering", "why": "", "since_unix_s": time.time() - 30,
        "confirmed": [{"mac": "02:01", "confirmed_ms": 1.25}],
        "conflicts": [{"mac": "02:02", "frames": 3, "defended": 1, "last_unix_s": time.time()}],
    }  # fmt: skip
    asked = {"mac": "02:03", "interface": "eth0", "unix_s": time.time() - 86400 * 3}
    tables.show_explanation({**EXPLANATION, "links": [ABSENT, link], "last_asked": asked})
    said = shown(capsys)
    assert said.startswith("192.0.2.1 is answered on eth0\nlast asked by 02:03 on eth0, 3 d ago\n")
    assert "02:01 after 1.2 ms" in said
    assert "conflict on eth0: 02:02 used it in 3 frames" in said
    assert "loopback" not in said


def test_who_else_has_an_address_of_the_ring(capsys: pytest.CaptureFixture[str]) -> None:
    ring = {"owner": "b", "ours": False, "epoch": 3, "succession": [], "aside": ""}
    tables.show_explanation({**EXPLANATION, "ring": ring})
    assert shown(capsys).startswith("192.0.2.1 is not answered here, but by b\n")
    tables.show_explanation({**EXPLANATION, "ring": {**ring, "owner": None, "aside": "no interface has a carrier"}})
    said = shown(capsys)
    assert said.startswith("192.0.2.1 is not answered\nthis member answers for nothing: no interface has a carrier\n")
    assert "owned by nobody" in said


@pytest.mark.parametrize(
    ("phase", "ours", "told"),
    [
        ("answering", True, "owned by a (this node)\n"),
        ("absent", True, "owned by a (this node), and not answered\n"),
        ("absent", False, "owned by a\n"),
    ],
)
def test_a_service(capsys: pytest.CaptureFixture[str], phase: str, ours: bool, told: str) -> None:
    ring = {"owner": "a", "ours": ours, "succession": [{"member": "a", "turn": 0, "why": ""}]}
    address = {"address": "192.0.2.1", "ring": ring, "links": [{**ABSENT, "phase": phase}], "services": ["shop/web"]}
    nodes = [{"node": "a", "why": []}, {"node": "b", "why": ["noLocalEndpoints"]}]
    service = {"service": "shop/web", "reason": None, "addresses": [address], "nodes": nodes, "bgp": None}
    tables.show_service(service)
    said = shown(capsys)
    assert said.startswith(f"shop/web has 192.0.2.1, {told}")
    assert "noLocalEndpoints" in said
    assert "BGP" not in said
    announced = {"a": None, "b": "nodeNetworkUnavailable"}
    tables.show_service({**service, "bgp": {"reason": None, "nodes": announced, "routes": []}})
    said = shown(capsys)
    assert re.search(r" a +announced", said)
    assert re.search(r" b +noLocalEndpoints +nodeNetworkUnavailable", said)


def route(peer: str, *, told: bool = True, why: str = "") -> dict[str, Any]:
    return {
        "prefix": "192.0.2.1/32", "services": ["shop/web"], "peer": peer, "told": told, "state": "established",
        "local_pref": 200, "communities": ["65000:1", "large:1:2:3"], "why": why,
    }  # fmt: skip


def test_routes(capsys: pytest.CaptureFixture[str]) -> None:
    routes = [route("tor-a"), route("tor-b", told=False, why="no advertisement names it")]
    tables.show_explanation({**EXPLANATION, "wanted": False, "links": [], "routes": routes})
    said = shown(capsys)
    assert said.startswith("192.0.2.1 is not answered, but announced by BGP\n")
    assert re.search(r"192.0.2.1/32 +tor-a +established +200 +65000:1 large:1:2:3", said)
    assert re.search(r"tor-b .* no advertisement names it", said)
    service = {"service": "shop/web", "reason": "noMatchingAdvertisement", "addresses": [], "nodes": []}
    tables.show_service({**service, "bgp": {"reason": None, "nodes": {}, "routes": routes}})
    assert "tor-a" in shown(capsys)


def test_sessions(capsys: pytest.CaptureFixture[str]) -> None:
    up = {
        "peer": "tor-a", "address": "192.0.2.3", "asn": 64513, "state": "established",
        "since_unix_s": time.time() - 300, "why": "", "flaps": 0, "bfd": "up", "announced": 10, "asked": 10,
    }  # fmt: skip
    down = {**up, "peer": "tor-b", "state": "active", "bfd": "none", "announced": 0, "flaps": 2, "why": "hold time"}
    bgp = {"trouble": "", "leaving": False, "routes": 10, "peers": [up, down]}
    tables.show_status({**STATUS, "bgp": bgp})
    said = shown(capsys)
    assert "BGP: 10 prefixes announced\n" in said
    assert re.search(r"tor-a +192.0.2.3 +64513 +established +5 min ago +up +10", said)
    assert re.search(r"tor-b .* 0 of 10 +2 +hold time", said)
    tables.show_status({**STATUS, "bgp": {**bgp, "trouble": "nobody listens", "leaving": True}})
    said = shown(capsys)
    assert "nobody listens\n" in said
    assert "others are to come before this node" in said


def test_a_ring_tells_of_members_that_were_never_heard(capsys: pytest.CaptureFixture[str]) -> None:
    me = {
        "name": "a", "here": True, "why": "this member", "gossip": "alive", "owned": 6, "addresses": "192.0.2.100/30",
        "drained": False, "holding": False, "me": True,
    }  # fmt: skip
    ring = {
        "members": [me], "election": "balanced", "profile": "fast", "settled": True, "quorum": True, "unowned": "",
        "missing": [{"target": "192.0.2.12:7946", "why": "expected a sealed stream"}],
    }  # fmt: skip
    tables.show_ring({"ring": ring})
    said = shown(capsys)
    assert said.startswith("1 of 2 members here")
    assert re.search(r"192\.0\.2\.12:7946 +not heard +expected a sealed stream", said)
