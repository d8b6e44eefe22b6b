"""What the client's and the witness's records come to."""

from ipaddress import ip_address
from math import inf

import pytest

from lab import Mac
from lab.ring import pool
from lab.traffic import Claim, Delivered, Heard, Outage, Spell

MS = 1_000_000
A, B, C = 5, 6, 7
ONE, OTHER = "192.0.2.100", "2001:db8::100"
MAC_A, MAC_B = Mac("02:00:00:00:00:0a"), Mac("02:00:00:00:00:0b")


def delivered(outages: tuple[Outage, ...] = (), spells: tuple[Spell, ...] = ()) -> Delivered:
    return Delivered(
        sent=0, answered=0, lost=0, late=0, doubled=0, skipped=0, unsent=0, pause_ns=0, outages=outages, spells=spells
    )


def claim(mac: Mac, first_ms: int, last_ms: int, address: str = ONE) -> Claim:
    return Claim(address, mac, first_ms * MS, last_ms * MS, 1, 0)


def test_outages_since_a_moment() -> None:
    old, new = Outage(ONE, 1 * MS, 2 * MS, 1, A, A), Outage(ONE, 10 * MS, 322 * MS, 156, A, B)
    both = delivered(outages=(new, old))
    assert both.since(0) == (old, new)
    assert both.since(5 * MS) == (new,)
    assert both.longest_ms(5 * MS) == 312
    assert both.longest_ms(500 * MS) == 0


def test_an_outage_that_has_not_ended_is_longer_than_any() -> None:
    assert delivered(outages=(Outage(ONE, 1 * MS, 0, 9, A, 0),)).longest_ms() == inf


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ((A,), {ONE: inf}),
        ((A, B), {ONE: 5}),
        ((A, B, A), {ONE: 5}),
        ((A, A, B), {ONE: 15}),
        ((B, A), {}),
    ],
)
def test_when_an_address_moved(hosts: tuple[int, ...], expected: dict[str, float]) -> None:
    spells = tuple(Spell(ONE, 10 * at * MS, (10 * at + 9) * MS, 5, host) for at, host in enumerate(hosts))
    assert delivered(spells=spells).moved(5 * MS, host=A) == expected
    assert delivered(spells=spells).hosts(ONE) == hosts
    assert delivered(spells=spells).hosts(OTHER) == ()


@pytest.mark.parametrize(
    ("claims", "since_ms", "expected"),
    [
        ([claim(MAC_A, 0, 50), claim(MAC_B, 51, 90)], 0, {}),
        ([claim(MAC_A, 0, 50), claim(MAC_B, 40, 90)], 0, {ONE: 10}),
        ([claim(MAC_A, 0, 50), claim(MAC_B, 40, 90)], 45, {ONE: 5}),
        ([claim(MAC_A, 0, 50), claim(MAC_B, 40, 90)], 50, {}),
        ([claim(MAC_A, 0, 50), claim(MAC_A, 40, 90)], 0, {}),
        ([claim(MAC_A, 0, 50), claim(MAC_B, 40, 90, OTHER)], 0, {}),
        ([claim(MAC_A, 0, 50), claim(MAC_B, 10, 20), claim(MAC_B, 40, 90)], 0, {ONE: 40}),
    ],
)
def test_two_owners(claims: list[Claim], since_ms: int, expected: dict[str, float]) -> None:
    assert Heard(0, 0, tuple(claims)).disputed_ms(since_ms * MS) == expected


def test_owners_in_the_order_of_their_first_claim() -> None:
    heard = Heard(0, 0, (claim(MAC_B, 51, 90), claim(MAC_A, 0, 50)))
    assert heard.owners(ONE) == (MAC_A, MAC_B)
    assert heard.owners(ONE, 60 * MS) == (MAC_B,)
    assert heard.owners(OTHER) == ()


@pytest.mark.parametrize("count", [1, 2, 20, 1000])
def test_a_pool_has_as_many_addresses_as_asked_for(count: int) -> None:
    addresses = [ip_address(address) for address in pool(count)]
    assert len(set(addresses)) == count
    assert sum(address.version == 4 for address in addresses) == count - count // 2
