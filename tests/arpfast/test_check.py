from collections.abc import Mapping
from ipaddress import IPv6Address, ip_interface
from typing import Any

import msgspec
import pytest

from arpfast.check import Finding, examine, local
from arpfast.config import Config, RateLimit
from arpfast.interfaces import Interface
from arpfast.listen import Listen
from arpfast.machine import Machine
from arpfast.privileges import Account, Capability
from arpfast.ring.settings import RingSettings
from arpfast.spans import Spans

ETH0 = Interface(
    index=2,
    name="eth0",
    mac=bytes.fromhex("020000000001"),
    up=True,
    carrier=True,
    ipv6=True,
    addresses=(ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64")),
    link_local=IPv6Address("fe80::1"),
)
ETH1 = msgspec.structs.replace(
    ETH0, index=3, name="eth1", mac=bytes.fromhex("020000000002"), addresses=(ip_interface("198.51.100.1/24"),)
)
LO = Interface(index=1, name="lo", up=True, carrier=True, loopback=True, addresses=(ip_interface("127.0.0.1/8"),))
GOOD = Machine(
    interfaces=(LO, ETH0),
    capabilities=frozenset(Capability),
    root=True,
    account=Account("arpfast", 990, 990),
    sysctls={},
)
CONFIG = Config(addresses=Spans.parse("192.0.2.10", "2001:db8::10"))


def machine(*interfaces: Interface, sysctls: Mapping[str, int] | None = None, **changes: Any) -> Machine:
    changed = msgspec.structs.replace(GOOD, sysctls=dict(sysctls or {}), **changes)
    return msgspec.structs.replace(changed, interfaces=(LO, *interfaces)) if interfaces else changed


def config(*addresses: str, **changes: Any) -> Config:
    changed = msgspec.structs.replace(CONFIG, **changes)
    return msgspec.structs.replace(changed, addresses=Spans.parse(*addresses)) if addresses else changed


def complaints(config: Config, machine: Machine) -> list[Finding]:
    return [finding for finding in examine(config, machine) if finding.judgement != "ok"]


def test_a_good_machine_has_nothing_to_complain_of() -> None:
    assert complaints(CONFIG, GOOD) == []
    assert {"addresses", "CAP_NET_RAW", "user", "control", "interface eth0"} <= {f.check for f in examine(CONFIG, GOOD)}


VETH = "a veth drops"


@pytest.mark.parametrize(
    ("wanted", "harms", "told"),
    [
        ("auto", {}, [("ok", "eth0: xdp")]),
        ("auto", {"eth0": VETH}, [("ok", "eth0: tc, since a veth drops")]),
        ("xdp", {}, [("ok", "eth0: xdp")]),
        ("xdp", {"eth0": VETH}, [("warn", "eth0: xdp, but a veth drops")]),
        ("tc", {"eth0": VETH}, [("ok", "eth0: tc")]),
        ("raw", {}, [("ok", "raw: the daemon itself, as was wished")]),
    ],
)
def test_who_would_answer(wanted: str, harms: dict[str, str], told: list[tuple[str, str]]) -> None:
    findings = examine(config(backend=wanted), machine(harms=harms))
    assert [(one.judgement, one.told) for one in findings if one.check == "backend"] == told


@pytest.mark.parametrize(
    ("changes", "machine_changes", "check", "told"),
    [
        ({"backend": "tc"}, {"answers": False}, "backend", "cannot be loaded"),
        ({"backend": "raw", "restart_s": 10.0}, {}, "restart", "nothing to keep"),
        ({"restart_s": 10.0}, {"root": False}, "restart", "nothing can be kept"),
    ],
)
def test_what_the_kernel_cannot_do(
    changes: dict[str, Any], machine_changes: dict[str, Any], check: str, told: str
) -> None:
    (complaint,) = complaints(config(**changes), machine(**machine_changes))
    assert (complaint.check, complaint.judgement) == (check, "warn")
    assert told in complaint.told
    assert not [one for one in complaints(CONFIG, machine(answers=False)) if one.check == "backend"]


DOWN = msgspec.structs.replace(ETH0, up=False)
UNPLUGGED = msgspec.structs.replace(ETH0, carrier=False)
ENSLAVED = msgspec.structs.replace(ETH1, enslaved=True, addresses=())
NO_IPV6 = msgspec.structs.replace(ETH0, ipv6=False, link_local=None)
DUMMY = Interface(
    index=9, name="vip", mac=bytes(5) + b"\2", up=True, arp=False, addresses=(ip_interface("192.0.2.10/32"),)
)
BRIDGE = msgspec.structs.replace(
    ETH1, name="br0", addresses=(ip_interface("192.0.2.10/24"), ip_interface("2001:db8::10/64"))
)


@pytest.mark.parametrize(
    ("config", "machine", "expected"),
    [
        (config("192.0.2.10"), machine(capabilities=frozenset()), [("CAP_NET_RAW", "fail", "missing")]),
        (CONFIG, machine(account=None), [("user", "fail", "no user arpfast or nobody")]),
        (CONFIG, machine(account=Account("nobody", 65534, 65534)), [("user", "warn", "nobody")]),
        (CONFIG, machine(root=False, account=None), []),
        (CONFIG, machine(unreadable="/root may not be entered by arpfast"), [("reload", "warn", "/root")]),
        (CONFIG, machine(control_holder=77), [("control", "warn", "pid 77")]),
        (CONFIG, machine(control_problem="/x is no directory"), [("control", "fail", "/x is no")]),
        (config(metrics=Listen("", 80)), machine(metrics_problem="in use"), [("metrics", "fail", "in use")]),
        (config(metrics=Listen("", 80)), GOOD, []),
        (config("192.0.2.10", addresses=Spans()), GOOD, []),
        (msgspec.structs.replace(CONFIG, addresses=Spans()), GOOD, [("addresses", "warn", "none")]),
        (CONFIG, machine(UNPLUGGED), [("interface eth0", "warn", "no carrier")]),
        (CONFIG, machine(DOWN), [("interfaces", "fail", "eth0: down")]),
        (config(interfaces=("eth0",)), machine(DOWN), [("interface eth0", "fail", "down")]),
        (config(interfaces=("wlan*",)), GOOD, [("interfaces", "fail", "nothing here matches wlan*")]),
        (config(interfaces=("eth*", "wlan*", "!eth7")), GOOD, [("interfaces", "warn", "matches wlan*")]),
        (config(interfaces=("eth0", "eth1")), machine(ETH0, ENSLAVED), [("interface eth1", "warn", "port of another")]),
        (config(interfaces=("192.0.2.0/24",)), GOOD, []),
        (CONFIG, machine(NO_IPV6), [("IPv6", "fail", "disabled on eth0")]),
        (config("192.0.2.10"), machine(NO_IPV6), []),
        (config("192.0.2.1"), GOOD, [("address 192.0.2.1", "warn", "same MAC 02:00:00:00:00:01")]),
        (
            config("192.0.2.10"),
            machine(ETH0, DUMMY),
            [("address 192.0.2.10", "warn", "arp_ignore=0"), ("address 192.0.2.10", "warn", "arp_announce")],
        ),
        (
            config("192.0.2.10"),
            machine(ETH0, DUMMY, sysctls={"ipv4/conf/all/arp_ignore": 1, "ipv4/conf/eth0/arp_announce": 2}),
            [],
        ),
        (
            config(interfaces=("eth0",)),
            machine(ETH0, BRIDGE),
            [("address 192.0.2.10", "fail", "02:00:00:00:00:02"), ("address 2001:db8::10", "fail", "on br0")],
        ),
        (config("203.0.113.1-203.0.113.9"), GOOD, [("networks", "warn", "203.0.113.1-203.0.113.9")]),
        (
            config("192.0.2.128/25"),
            GOOD,
            [("networks", "warn", "192.0.2.255: the first and the last address of")],
        ),
        (
            config(proxy=Spans.parse("192.0.2.0/24")),
            machine(sysctls={"ipv4/conf/eth0/forwarding": 1}),
            [("proxy", "warn", "also answers for the neighbours")],
        ),
        (config(proxy=Spans.parse("203.0.113.0/24")), GOOD, [("forwarding", "warn", "ipv4 forwarding is off on eth0")]),
        (CONFIG, machine(sysctls={"ipv4/conf/all/proxy_arp": 1}), [("proxy_arp", "warn", "the kernel answers")]),
        (CONFIG, machine(sysctls={"ipv6/conf/eth0/proxy_ndp": 1}), [("proxy_ndp", "warn", "the kernel answers")]),
        (CONFIG, machine(sysctls={"ipv4/conf/all/rp_filter": 1}), []),
        (CONFIG, machine(ETH0, ETH1, sysctls={"ipv4/conf/all/rp_filter": 1}), [("rp_filter", "warn", "eth0, eth1")]),
        (CONFIG, machine(ETH0, ETH1, sysctls={"ipv4/conf/all/rp_filter": 2}), []),
    ],
)
def test_complaints(config: Config, machine: Machine, expected: list[tuple[str, str, str]]) -> None:
    found = complaints(config, machine)
    assert [(one.check, one.judgement) for one in found] == [(check, judgement) for check, judgement, _ in expected]
    assert all(said in one.told for one, (_, _, said) in zip(found, expected, strict=True))
    assert all(one.remedy for one in found)


SILENT = {"ipv4/conf/all/arp_ignore": 1, "ipv4/conf/all/arp_announce": 2}


@pytest.mark.parametrize(
    ("wanted", "machine", "shared", "expected"),
    [
        (("192.0.2.10",), machine(sysctls=SILENT), True, [("ok", "1 on lo")]),
        (("2001:db8::10",), GOOD, True, [("ok", "1 on lo")]),
        (("192.0.2.10",), GOOD, True, [("fail", "arp_ignore=0"), ("fail", "arp_announce=0")]),
        (("192.0.2.10",), GOOD, False, [("warn", "answers for them on eth0, as"), ("warn", "asks its neighbours")]),
        (
            ("192.0.2.10",),
            machine(sysctls=SILENT, capabilities=frozenset({Capability.NET_RAW})),
            True,
            [("fail", "CAP_NET_ADMIN is missing"), ("ok", "")],
        ),
        (("10.0.0.0/16",), machine(sysctls=SILENT), True, [("fail", "at most 2048"), ("ok", "")]),
    ],
)
def test_addresses_on_lo(
    wanted: tuple[str, ...], machine: Machine, shared: bool, expected: list[tuple[str, str]]
) -> None:
    found = list(local(Spans.parse(*wanted), machine, [ETH0], shared=shared))
    assert [one.judgement for one in found] == [judgement for judgement, _ in expected]
    assert all(said in one.told for one, (_, said) in zip(found, expected, strict=True))
    assert all(one.remedy for one in found if one.judgement != "ok")


@pytest.mark.parametrize(
    ("machine", "judgement", "told", "remedy"),
    [
        (GOOD, "ok", "eBPF", ""),
        (machine(capabilities=frozenset({Capability.NET_RAW}), filter_refused="no"), "ok", "classic; no", "CAP_BPF"),
        (machine(filter_refused="lockdown"), "warn", "classic; lockdown", "what the kernel says"),
    ],
)
def test_the_filter_that_it_would_get(machine: Machine, judgement: str, told: str, remedy: str) -> None:
    (found,) = (one for one in examine(CONFIG, machine) if one.check == "filter")
    assert found.judgement == judgement
    assert told in found.told
    assert remedy in found.remedy


def test_the_guard_matters_where_there_is_a_limit() -> None:
    without = machine(guard=False)
    assert "guard" not in {one.check for one in examine(CONFIG, without)}
    limited = config(rate_limit=RateLimit())
    told = {one.check: one for one in examine(limited, without)}["guard"]
    assert "CAP_NET_ADMIN" in told.remedy
    assert {one.check: one for one in examine(limited, GOOD)}["guard"].remedy == ""


def test_a_ring_needs_this_host_among_its_members_and_a_secret() -> None:
    ring = RingSettings(members=("192.0.2.1", "192.0.2.2"), key_files=("/etc/arpfast/ring.key",))
    assert said(examine(config(ring=ring), machine()), "ring") == [
        ("ok", "this host is 192.0.2.1, one of 2 members"),
    ]
    strangers = RingSettings(members=("192.0.2.2", "192.0.2.3"))
    assert said(examine(config(ring=strangers), machine()), "ring") == [
        ("fail", "no address of this host is among ring.members"),
        ("warn", "the gossip on port 7946 is open: whoever reaches it can take part"),
    ]
    both = msgspec.structs.replace(ring, quorum=True)
    assert said(examine(config(ring=both), machine()), "ring")[1:] == [
        ("warn", "a quorum of two members is both of them: should one die, the other answers nothing"),
    ]


def said(findings: list[Finding], check: str) -> list[tuple[str, str]]:
    return [(one.judgement, one.told) for one in findings if one.check == check]
