"""A ring that is changed while it runs, and rings that are not as they should be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab import Lab, wait_until
from lab.ring import pool
from tests.real.company import DEADLINE_S, Company, secret

if TYPE_CHECKING:
    from lab.member import Member

ADDRESSES = pool(6)


def test_keys_are_changed_without_a_gap(lab: Lab) -> None:
    old, new, wrong = (secret(lab, name, name * 8) for name in ("old", "new", "wrong"))
    with Company(lab, ADDRESSES, options={"key_files": [old]}) as company:
        owners = company.agree()
        company.watch_anew()
        for keys in ([old, new], [new, old], [new]):
            for member in company.members:
                member.change({**company.options, "key_files": keys})
            assert company.agree() == owners or company.disturbances()
        heard = company.dismiss()
        macs = {address: (company.ring.links[owner.host].mac,) for address, owner in owners.items()}
        assert {address: heard.owners(address) for address in ADDRESSES} == macs or company.disturbances()
        stranger = company.members[0]
        stranger.kill()
        company.agree(company.but(stranger))
        stranger.write({**company.options, "key_files": [wrong]}, company.settings)
        stranger.start()
        stranger.wait_event("settled")
        assert not any(seen["here"] for name, seen in stranger.view().items() if name != stranger.name)
        for member in company.but(stranger):
            at = f"{company.ring.address(stranger.host)}:7946: "
            assert member.wait_event("not everybody could be heard")["why"].startswith(at)
            seen = member.view()[stranger.name]
            assert not seen["here"]
            assert "but answers: " in seen["why"]


def test_what_a_reload_changes_is_in_force_everywhere(lab: Lab) -> None:
    with Company(lab, ADDRESSES[:4]) as company:
        for member in company.members:
            member.change(company.options, {"addresses": list(ADDRESSES)})
        company.addresses = ADDRESSES
        company.check()
        heavy = company.members[1]
        heavy.change({**company.options, "weight": 10_000}, {"addresses": list(ADDRESSES)})
        wait_until(lambda: heavy.view()[heavy.name]["owned"] >= 4, DEADLINE_S, what="it to be given more", every_ms=20)
        company.check()
        heavy.change({**company.options, "weight": 0}, {"addresses": list(ADDRESSES)})
        wait_until(lambda: not heavy.view()[heavy.name]["owned"], DEADLINE_S, what="it to be given none", every_ms=20)
        company.check()
        told = heavy.change({**company.options, "election": "metallb"}, {"addresses": list(ADDRESSES)})
        assert told["needs_restart"] == ["ring.election"]
        assert heavy.ask("status")["ring"]["election"] == "balanced"
        rest = [company.ring.address(member.host) for member in company.but(heavy)]
        heavy.change({**company.options, "members": rest}, {"addresses": list(ADDRESSES)})
        heavy.wait_event("this host is not among the members any more")


def test_a_host_that_stood_still_is_measured_by_the_profile_of_the_last_reload(lab: Lab) -> None:
    with Company(lab, ADDRESSES) as company:
        for member in company.members:
            member.change({**company.options, "profile": "fast"})
        company.agree()
        frozen = company.members[0]
        company.ring.freeze(frozen.host)
        company.observe(20)
        company.ring.thaw(frozen.host)
        frozen.wait_event("stood aside")
        company.check()


def wait_lost(member: Member, address: str) -> None:
    """Wait until the address is not the member's any more."""
    lost = f"{member.name} to have given up {address}"
    wait_until(lambda: not member.ask("explain", address)["ring"]["ours"], DEADLINE_S, what=lost, every_ms=20)


def test_a_check_that_fails_moves_its_address_and_one_that_fails_everywhere_does_not(lab: Lab) -> None:
    flags = {name: lab.directory / f"serves-{name}" for name in "abc"}
    lab.directory.chmod(0o755)
    for flag in flags.values():
        flag.write_text("")
        flag.chmod(0o644)
    told = lab.directory / "told"
    told.mkdir()
    told.chmod(0o777)
    checked = ADDRESSES[0]
    with Company(lab, ADDRESSES) as company:
        for member in company.members:
            write = f"cat >> {told}/{member.name}"
            member.change(company.options, {
                "on_change": [{"command": ["/bin/sh", "-c", write]}],
                "checks": [{
                    "addresses": [checked], "command": ["/bin/cat", str(flags[member.name])],
                    "interval": "200ms", "timeout": "150ms", "rise": 1, "fall": 2,
                }],
            })  # fmt: skip
        serving = company.agree()
        for _ in range(2):
            owner = serving[checked]
            flags[owner.name].unlink()
            wait_lost(owner, checked)
            serving = company.check()
        last = serving[checked]
        flags[last.name].unlink()

        def fails() -> bool:
            return any(check["state"] == "failing" for check in last.ask("explain", checked)["checks"])

        wait_until(fails, DEADLINE_S, what="the last check to fail", every_ms=20)
        assert company.check()[checked] is last, "expected it to stay where it is"

        def heard_of(member: Member, event: str) -> bool:
            path = told / member.name
            events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            return any((one["event"], one["me"]) == (event, member.name) for one in events)

        wait_until(lambda: heard_of(last, "took over"), DEADLINE_S, what="its command to be told", every_ms=20)


@pytest.mark.parametrize("where", ["lo", "owner"])
def test_addresses_are_put_on_lo_of_all_or_of_their_owner(lab: Lab, where: str) -> None:
    with Company(lab, ADDRESSES, settings={"local": where}) as company:
        owners = company.agree()

        def as_wished() -> bool:
            for member in company.members:
                mine = {address for address, owner in owners.items() if owner is member or where == "lo"}
                on_lo = {str(found.ip) for found, _ in member.host.address_flags(1)} - {"127.0.0.1", "::1"}
                if on_lo != mine:
                    return False
            return True

        wait_until(as_wished, DEADLINE_S, what="the addresses to be where they belong", every_ms=50)
        gone = owners[ADDRESSES[0]]
        gone.stop()
        assert {str(found.ip) for found, _ in gone.host.address_flags(1)} == {"127.0.0.1", "::1"}
        company.members.remove(gone)
        owners = company.check()
        wait_until(as_wished, DEADLINE_S, what="the addresses to be where they belong", every_ms=50)


def test_less_than_a_quorum_answers_nothing(lab: Lab) -> None:
    with Company(lab, ADDRESSES, options={"quorum": True}) as company:
        apart = company.agree()[ADDRESSES[0]]
        company.ring.part([apart.host])
        company.agree(company.but(apart))
        apart.wait_event("quorum lost")
        wait_until(lambda: not apart.view()[apart.name]["owned"], DEADLINE_S, what="it to give up", every_ms=20)
        company.check(company.but(apart))
        company.ring.heal()
        company.check()


@pytest.mark.parametrize("profile", ["default", "fast"])
def test_what_an_outsider_has_is_answered_by_nobody_and_moves_nothing(lab: Lab, profile: str) -> None:
    taken = ADDRESSES[0]
    company = Company(lab, ADDRESSES, options={"profile": profile})
    company.ring.uplink.add_address(f"{taken}/32")
    with company:
        owners = company.agree()
        try:
            owners[taken].wait_event("address is in use by another host: not answered", address=taken)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{company.diary()}") from None
        before = sum(len(member.events("stood aside")) for member in company.members)
        company.watch_anew()
        company.observe(100)
        heard = company.dismiss()
        stood = sum(len(member.events("stood aside")) for member in company.members) > before
        assert heard.owners(taken) == (company.ring.uplink.mac,) or stood, company.diary()
        assert company.owners() == owners or stood, company.diary()


def test_two_hosts_of_one_name_are_told_of(lab: Lab) -> None:
    company = Company(lab, ADDRESSES)
    first, twin, late = company.members
    late.name = twin.name
    for member in company.members:
        member.start()
    first.wait_event("name claimed twice")

    def displaced() -> list[Member]:
        return [
            member
            for member in (late, twin)
            if any("has the same name" in event["why"] for event in member.events("stood aside"))
        ]

    (gone,) = wait_until(displaced, DEADLINE_S, what="one to give way", every_ms=20)
    company.agree(company.but(gone))


def test_who_has_no_carrier_is_succeeded_though_its_gossip_goes_another_way(lab: Lab) -> None:
    with Company(lab, ADDRESSES, gossip_apart=True) as company:
        cut = company.agree()[ADDRESSES[0]]
        company.ring.cut(cut.host)
        others = company.but(cut)

        def succeeded() -> bool:
            view = others[0].view()
            return not view[cut.name]["owned"] and sum(seen["owned"] for seen in view.values()) == len(ADDRESSES)

        wait_until(succeeded, DEADLINE_S, what="the others to have what it had", every_ms=20)
        assert all(other.view()[cut.name]["gossip"] == "alive" for other in others)
        assert set(company.owners(others)) == set(ADDRESSES)
        company.ring.heal()
        company.check()


def test_members_may_know_each_other_by_ipv6_only(lab: Lab) -> None:
    company = Company(lab, ADDRESSES[3:])
    members = [f"2001:db8::{11 + place}" for place in range(3)]
    company.options["members"] = members
    for member in company.members:
        member.write(company.options, {})
    with company:
        victim = company.agree()[ADDRESSES[3]]
        victim.kill()
        company.check(company.but(victim))


def test_a_ring_of_one_answers_for_everything(lab: Lab) -> None:
    with Company(lab, ADDRESSES, hosts=1) as company:
        company.check()
        company.ring.cut(company.members[0].host)
        company.members[0].wait_event("stood aside")
        company.ring.heal()
        company.check()
