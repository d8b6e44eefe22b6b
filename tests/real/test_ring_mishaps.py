"""What befalls rings now and then: many at once, names that change, files that differ, bytes that nobody sent."""

from __future__ import annotations

import random
import re
import socket
import urllib.request
from typing import TYPE_CHECKING

import pytest

from arpfast.ring.ring import STANDING
from arpfast.ring.standing import Standing, decode, encode
from arpfast.spans import Spans
from lab import Lab, wait_until
from lab.member import start
from lab.ring import pool
from tests.real.company import DEADLINE_S, Company

if TYPE_CHECKING:
    from lab.member import Member

ADDRESSES = pool(6)
METRICS = "127.0.0.1:9707"
USER = b"\x08"
"""The type of memberlist's user messages."""


@pytest.mark.timeout(300)
def test_ten_members_start_at_once_lose_two_and_are_all_restarted(lab: Lab) -> None:
    with Company(lab, pool(20), hosts=10) as company:
        company.check()
        lost = company.members[3], company.members[7]
        for member in lost:
            member.kill()
        company.check(company.but(*lost))
        for member in company.but(*lost):
            member.kill()
        start(company.members)
        company.check()


def test_an_interface_is_renamed_and_nothing_moves(lab: Lab) -> None:
    with Company(lab, ADDRESSES, settings={"interfaces": ["192.0.2.0/24"]}) as company:
        owners = company.check()
        renamed = company.ring.links[owners[ADDRESSES[0]].host]
        before = company.disturbances()
        company.watch_anew()
        renamed.rename("wan0")
        owners[ADDRESSES[0]].wait_event("interface renamed")
        company.observe()
        heard = company.dismiss()
        told = {address: heard.owners(address) for address in ADDRESSES}
        macs = {address: (company.ring.links[owner.host].mac,) for address, owner in owners.items()}
        assert told == macs or company.disturbances() > before, company.diary()


@pytest.mark.parametrize("profile", ["default", "fast"])
def test_a_reload_while_addresses_change_hands_is_in_force_in_the_end(lab: Lab, profile: str) -> None:
    with Company(lab, ADDRESSES[:3], options={"profile": profile}) as company:
        victim = company.agree()[ADDRESSES[0]]
        rest = company.but(victim)
        victim.kill()
        company.addresses = ADDRESSES
        for member in rest:
            member.change(company.options, {"addresses": list(ADDRESSES)})
        company.check(rest)


def test_probing_as_slowly_as_the_rfc_has_it_delays_no_take_over(lab: Lab) -> None:
    with Company(lab, ADDRESSES, settings={"announce": {"probe": "rfc"}}) as company:
        victim = company.check()[ADDRESSES[0]]
        rest = company.but(victim)
        victim.kill()

        def phases() -> list[str]:
            told = [member.ask("explain", ADDRESSES[0]) for member in rest]
            links = [link for each in told if each["ring"]["ours"] for link in each["links"]]
            return [link["phase"] for link in links if link["interface"] == "eth0"]

        assert wait_until(phases, DEADLINE_S, what="an heir", every_ms=20) == ["answering"]
        company.check(rest)


def test_a_member_that_was_not_told_of_others_joins_by_those_that_it_knows(lab: Lab) -> None:
    company = Company(lab, ADDRESSES)
    first, second, third = company.members
    addresses = [company.ring.address(member.host) for member in company.members]
    first.write({**company.options, "members": addresses[:2]}, company.settings)
    third.write({**company.options, "members": addresses[1:]}, company.settings)
    with company:
        company.check()
        second.kill()
        company.check([first, third])


def test_members_whose_files_differ_answer_for_what_each_has_and_for_nothing_twice(lab: Lab) -> None:
    company = Company(lab, ADDRESSES)
    company.alike = False
    knowing = company.members[2]
    for member in company.but(knowing):
        member.write(company.options, {"addresses": list(ADDRESSES[:4])})
    with company:
        owners = company.check()
        assert {owners[address] for address in ADDRESSES[4:]} == {knowing}


def test_without_a_default_router_addresses_are_taken_over_all_the_same(lab: Lab) -> None:
    company = Company(lab, ADDRESSES)
    for host in company.ring.hosts:
        for router in ("192.0.2.1", "2001:db8::1"):
            family = socket.AF_INET6 if ":" in router else socket.AF_INET
            host.netlink("route", "del", dst="default", gateway=router, family=family)
    with company:
        victim = company.check()[ADDRESSES[0]]
        victim.kill()
        company.check(company.but(victim))


def test_bytes_that_are_no_standing_move_nothing(lab: Lab) -> None:
    sound = encode(Standing("b", 1 << 50, macs=(b"\x02\0\0\0\0\x09",), claims={7: Spans.parse(*ADDRESSES)}))
    rng = random.Random(7)
    spoilt: list[bytes] = [b"", b"\xc1", b"\xdd\xff\xff\xff\xff"]
    while len(spoilt) < 300:
        bytes_ = bytearray(sound[: rng.randrange(len(sound) + 1)])
        for _ in range(rng.randrange(4)):
            if bytes_:
                bytes_[rng.randrange(len(bytes_))] = rng.randrange(256)
        try:
            decode(bytes(bytes_))
        except ValueError:
            spoilt.append(bytes(bytes_))
    with Company(lab, ADDRESSES, settings={"metrics": METRICS}) as company:
        owners = company.check()
        before = company.disturbances()
        hosts = [company.ring.address(member.host) for member in company.members]

        def throw() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                for each in spoilt:
                    for host in hosts:
                        udp.sendto(USER + STANDING + each, (host, 7946))

        def all_read_them() -> bool:
            company.ring.witness.host.call(throw)
            return all(refused(member) >= len(spoilt) for member in company.members)

        wait_until(all_read_them, DEADLINE_S, what="all to have read what is thrown at them", every_ms=100)
        assert company.check() == owners or company.disturbances() > before, company.diary()


def refused(member: Member) -> float:
    """How many messages it could not read."""

    def read() -> str:
        with urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=DEADLINE_S) as answer:
            return str(answer.read(), "utf-8")

    found = re.search(r"^arpfast_ring_refused_total (\S+)$", member.host.call(read), re.MULTILINE)
    assert found
    return float(found.group(1))
