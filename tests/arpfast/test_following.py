"""What the picture makes of a story told in messages."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import Any

from arpfast.following import Picture
from arpfast.interfaces import kernel_addresses
from arpfast.rtnetlink import RTM_GETLINK, RTM_GETROUTE, DefaultRoute, Forwarding, Link, LinkAddress, Message
from arpfast.spans import Spans

MAC = bytes.fromhex("020000000007")
UP = 0x1 | 0x40
TOLD: dict[str, Any] = {"gone": False, "ifindex": 7, "kind": 1, "flags": UP, "name": "eth7", "mac": MAC, "mtu": 1500}


def told(**fields: Any) -> Link:
    return Link(**(TOLD | fields))


def test_a_port_is_enslaved_and_a_member_of_a_vrf_is_not() -> None:
    picture = Picture()
    picture.take(told(master=9, slave_kind="bridge"))
    assert picture.snapshot()[7].enslaved
    picture.take(told(master=9, slave_kind="vrf"))
    assert not picture.snapshot()[7].enslaved


def test_a_snapshot_stays_as_it_was_and_only_changes_make_a_new_one() -> None:
    picture = Picture()
    picture.take(told())
    first = picture.snapshot()
    picture.take(told())
    assert picture.snapshot() is first
    picture.take(told(ifindex=8, name="eth8"))
    second = picture.snapshot()
    assert list(first) == [7]
    assert second[7] is first[7]


def test_a_tentative_or_duplicate_link_local_address_is_not_used() -> None:
    picture = Picture()
    picture.take(told())
    address = ip_interface("fe80::1/64")
    for flags, addresses, link_local in (
        (0x40, (address,), None),
        (0x48, (), None),
        (0x80, (address,), ip_address("fe80::1")),
    ):
        picture.take(LinkAddress(gone=False, ifindex=7, address=address, flags=flags))
        found = picture.snapshot()[7]
        assert (found.addresses, found.link_local) == (addresses, link_local)
    assert kernel_addresses(picture.snapshot().values()) == Spans.parse("fe80::1")


def test_routes_are_read_again_when_the_kernel_may_have_dropped_some() -> None:
    picture = Picture()
    stale = [picture.routes_stale]

    def take(message: Message) -> None:
        picture.take(message)
        stale.append(picture.routes_stale)

    take(told())
    route = DefaultRoute(gone=False, hops=((7, ip_address("fe80::1")), (7, ip_address("192.0.2.1"))))
    take(route)
    picture.replace(RTM_GETROUTE, [route])
    assert picture.snapshot()[7].gateways == (ip_address("192.0.2.1"), ip_address("fe80::1"))
    take(told(name="new"))
    take(told(flags=0))
    assert stale == [False, False, True, False, True]
    picture.replace(RTM_GETROUTE, [])
    assert not picture.snapshot()[7].gateways


def test_a_dump_replaces_what_was_known() -> None:
    picture = Picture()
    picture.take(told())
    picture.take(told(ifindex=8, name="eth8"))
    picture.replace(RTM_GETLINK, [told(ifindex=8, name="new")])
    assert {index: interface.name for index, interface in picture.snapshot().items()} == {8: "new"}


def test_ipv6_that_ended_and_began_within_one_burst_is_noticed() -> None:
    picture = Picture()
    picture.take(told())
    picture.take(Forwarding(gone=False, ifindex=7, forwards=True))
    before = picture.snapshot()[7]
    assert (before.ipv6, before.router6) == (True, True)
    picture.take(Forwarding(gone=True, ifindex=7, forwards=False))
    picture.take(Forwarding(gone=False, ifindex=7, forwards=True))
    after = picture.snapshot()[7]
    assert after.ipv6
    assert after.ipv6_ended != before.ipv6_ended
