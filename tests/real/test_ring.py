"""A ring of the real command on real kernels: an address outlives its host, and has one owner whatever happens.

How long an outage lasts is for `bench/bench_failover.py`; here counts who answers in the end, and that nothing is lost
where nothing has to be.
"""

from __future__ import annotations

import pytest

from lab import Arp, Capture, Lab, Mac, wait_until
from lab.frames import BROADCAST, REQUEST
from lab.ring import Cut, pool
from lab.traffic import Traffic
from tests.real.company import DEADLINE_S, Company, now_ns

ADDRESSES = pool(12)
PROFILES = pytest.mark.parametrize("profile", ["default", "fast"])


@PROFILES
def test_an_address_outlives_its_owner(lab: Lab, profile: str) -> None:
    with Company(lab, ADDRESSES, options={"profile": profile}) as company:
        owners = company.check()
        assert len(set(owners.values())) == 3 or company.disturbances(), "expected everybody to have a share"
        victim = owners[ADDRESSES[0]]
        asker = company.ring.witness
        with asker.host.capture(asker) as capture:
            victim.kill()
            after = company.check(company.but(victim))
            told = announced(capture, ADDRESSES[0], company.ring.links[victim.host].mac)
        assert BROADCAST in told
        assert profile == "fast" or told[0] == asker.mac, "expected who asked lately to be told first, then everybody"
        unmoved = {address: owner for address, owner in owners.items() if owner is not victim}
        rest = company.but(victim)
        doubts = [event for member in rest for kind in ("silent on the wire", "member suspect")
                  for event in member.events(kind)]  # fmt: skip
        by_itself = any(member.events("stood aside") for member in rest) or any(
            event["member"] != victim.name for event in doubts
        )
        assert unmoved.items() <= after.items() or by_itself, "expected only what the victim had to move"
        victim.start()
        company.check()


def announced(capture: Capture, address: str, before: Mac) -> list[Mac]:
    """To whom it was announced by another than had it before, where the witness could see it."""
    return [
        frame.decoded.destination
        for frame in capture.frames()
        if isinstance(frame.decoded, Arp)
        and not frame.outgoing
        and frame.decoded.sha != before
        and (frame.decoded.operation, str(frame.decoded.spa)) == (REQUEST, address)
        and str(frame.decoded.tpa) in (address, "192.0.2.9")
    ]


@PROFILES
def test_a_cable_is_cut_and_mended(lab: Lab, profile: str) -> None:
    with Company(lab, ADDRESSES, options={"profile": profile}) as company:
        victim = company.agree()[ADDRESSES[0]]
        for where in Cut:
            company.ring.cut(victim.host, where)
            company.check(company.but(victim))
            company.ring.heal()
            company.check()


@PROFILES
def test_who_was_frozen_is_silent_until_it_has_heard_the_others(lab: Lab, profile: str) -> None:
    with Company(lab, ADDRESSES, options={"profile": profile}) as company:
        victim = company.agree()[ADDRESSES[0]]
        company.ring.freeze(victim.host)
        company.agree(company.but(victim))
        company.watch_anew()
        before = len(victim.events("settled"))
        company.ring.thaw(victim.host)
        victim.wait_event("stood aside")
        settled = "it to have heard the others"
        wait_until(lambda: len(victim.events("settled")) > before, DEADLINE_S, what=settled, every_ms=10)
        others_stood = any(member.events("stood aside") for member in company.but(victim))
        assert victim.events("handed over") or not victim.view()[victim.name]["owned"] or others_stood, company.diary()
        company.check()


@PROFILES
def test_where_only_gossip_is_cut_nothing_moves(lab: Lab, profile: str) -> None:
    with Company(lab, ADDRESSES, options={"profile": profile}) as company:
        owners = company.agree()
        apart = owners[ADDRESSES[0]]
        others = company.but(apart)
        before = company.disturbances()
        company.watch_anew()
        company.ring.part_gossip([apart.host])

        def dead_and_heard() -> bool:
            seen = [other.view()[apart.name] for other in others]
            return all((one["gossip"], one["here"]) == ("dead", True) for one in seen)

        wait_until(dead_and_heard, DEADLINE_S, what="all to say that only the gossip is cut", every_ms=20)
        assert "not silent on the wire" in others[0].view()[apart.name]["why"]
        company.observe()
        heard = company.dismiss()
        assert {address: heard.owners(address) for address in ADDRESSES} == {
            address: (company.ring.links[owner.host].mac,) for address, owner in owners.items()
        } or company.disturbances() > before, company.diary()


@PROFILES
def test_a_partition_has_an_owner_a_side_and_one_once_it_heals(lab: Lab, profile: str) -> None:
    settings = {"announce": {"refresh": "1h"}}
    with Company(lab, ADDRESSES, options={"profile": profile}, settings=settings) as company:
        apart = company.agree()[ADDRESSES[0]]
        for address in ADDRESSES:
            company.ring.wait_owner(address)
        company.ring.part([apart.host])
        company.check(company.but(apart))
        company.agree([apart])
        company.ring.heal()
        for address, owner in company.check().items():
            company.ring.wait_owner(address, owner.host)


@PROFILES
def test_nothing_is_lost_where_an_owner_goes_on_purpose(lab: Lab, profile: str) -> None:
    with Company(lab, ADDRESSES, options={"profile": profile}) as company:
        for address in ADDRESSES:
            company.ring.wait_owner(address)
        with Traffic.start(company.ring.client, ADDRESSES, every_s=0.01, patience_s=1.0, live=True) as traffic:
            for address in ADDRESSES:
                traffic.wait_answered(address, deadline_s=DEADLINE_S)
            started_ns = now_ns()
            leaver = company.agree()[ADDRESSES[0]]
            before = company.disturbances()
            leaver.drain()
            wait_until(lambda: not leaver.view()[leaver.name]["owned"], DEADLINE_S, what="it to be drained")
            leaver.undrain()
            company.agree()
            disturbed = False
            for member in company.members:
                member.stop()
                company.agree(company.but(member))
                disturbed = disturbed or company.disturbances() > before
                member.start()  # with a log of its own
                before = company.disturbances()
                company.agree()
            delivered = traffic.stop()
        assert not delivered.since(started_ns) or disturbed, company.diary()
