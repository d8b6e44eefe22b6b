"""The routers of the lab, with each other: whoever is asked, the view is the same, and nothing is left of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import Lab, wait_until
from lab.routers import Bird, Frr, Gobgp, Peering

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab import Host
    from lab.routers import Router

PREFIXES = ("203.0.113.1/32", "2001:db8:9::1/128")
ANNOUNCER = "192.0.2.9"
OURS = 64500
KINDS: tuple[Callable[..., Router], ...] = (Frr, Bird, Gobgp)


class Trio:
    """A router of each kind around one that announces, on one switch."""

    def __init__(self, lab: Lab) -> None:
        self.switch = lab.switch()
        self.announcer = Gobgp(
            self.join(lab, "announcer", 9),
            OURS,
            [Peering(address=f"192.0.2.{place}", asn=64600 + place, bfd_ms=100) for place in (1, 2, 3)],
        )
        peerings = [Peering(address=ANNOUNCER, asn=OURS, bfd_ms=100)]
        kinds = enumerate(KINDS, 1)
        self.routers = [kind(self.join(lab, f"router{n}", n), 64600 + n, peerings) for n, kind in kinds]

    def join(self, lab: Lab, name: str, place: int) -> Host:
        host = lab.host(name)
        host.link(self.switch, addresses=[f"192.0.2.{place}/24", f"2001:db8::{place}/64"])
        return host

    def announce(self, *options: str) -> None:
        for prefix in PREFIXES:
            family, hop = ("ipv6", "2001:db8::9") if ":" in prefix else ("ipv4", ANNOUNCER)
            words = ("-a", family, prefix, "nexthop", hop, "community", "65000:1,65535:0", *options)
            self.announcer.tell("global", "rib", "add", *words)


def test_each_kind_tells_the_same_of_what_it_sees(lab: Lab) -> None:
    trio = Trio(lab)
    trio.announcer.networks = ("198.51.100.0/24",)
    for router in (trio.announcer, *trio.routers):
        router.start()
    for router in trio.routers:
        router.wait_established()
    trio.announce("large-community", "65000:1:2")
    for router in trio.routers:
        for prefix in PREFIXES:
            (route,) = router.wait_route(prefix, ANNOUNCER)
            hop = "2001:db8::9" if ":" in prefix else ANNOUNCER
            assert route.next_hops[0] == hop, router.product
            assert route.communities == {"65000:1", "65535:0", "large:65000:1:2"}, router.product
            assert (route.as_path, route.med, route.stale) == ((OURS,), None, False), router.product
        router.wait_count(3)
        session = router.sessions()[ANNOUNCER]
        assert (session.asn, session.hold_time_s) == (OURS, 90), router.product
        assert session.families == {"ipv4", "ipv6"}, router.product
        assert session.since_unix_s > 0
        router.wait_bfd(ANNOUNCER)
        assert router.bfd()[ANNOUNCER].detect_ms == 300, router.product
    assert not trio.announcer.routes(), "routers tell nobody what they have been told"

    trio.announcer.kill()
    for router in trio.routers:
        router.wait_down(ANNOUNCER)
        wait_until(lambda each=router: not each.bfd()[ANNOUNCER].up)  # type: ignore[misc]


@pytest.mark.parametrize("kind", KINDS)
def test_a_router_announces_what_is_its_own_to_who_knows_the_password(lab: Lab, kind: Callable[..., Router]) -> None:
    switch = lab.switch()
    hosts = [lab.host(name) for name in ("one", "other")]
    for place, host in enumerate(hosts, 1):
        host.link(switch, addresses=[f"192.0.2.{place}/24", f"2001:db8::{place}/64"])
    router = kind(hosts[0], 64601, [Peering(address="192.0.2.2", password="right", passive=True)], networks=PREFIXES)
    other = Frr(hosts[1], 64602, [Peering(address="192.0.2.1", asn=64601, password="wrong", hold_time_s=9)])
    router.start()
    other.start()
    wait_until(lambda: other.sessions()["192.0.2.1"].state in {"connect", "active"})
    assert not router.sessions()["192.0.2.2"].established
    other.restart([Peering(address="192.0.2.1", asn=64601, password="right", hold_time_s=9)])
    other.wait_established()
    for prefix in PREFIXES:
        (route,) = other.wait_route(prefix, "192.0.2.1")
        assert route.as_path == (64601,)
    assert other.sessions()["192.0.2.1"].hold_time_s == 9
    assert router.count() == 0
    router.stop()
    other.wait_no_route(PREFIXES[0])


def test_nothing_is_left_of_routers_not_even_of_killed_ones(lab: Lab) -> None:
    places = [Path(place) for place in ("/run/frr", "/var/tmp/frr", "/var/lib/frr", "/run/bird", "/etc/frr")]

    def there() -> set[tuple[str, float]]:
        found = [path for place in places for path in (place, *place.rglob("*")) if path.exists()]
        return {(str(path), path.stat().st_mtime) for path in found}

    before = there()
    routers: list[Router] = [kind(lab.host(), 64600, []) for kind in (Frr, Frr, Bird, Gobgp)]
    for router in routers:
        router.start()
    pids = [pid for router in routers for pid in router.pids()]
    assert len(pids) >= 3 + 3 + 1 + 1
    for router in routers:
        router.kill()
    assert there() == before
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    routers[0].start()
    assert routers[0].sessions() == {}
