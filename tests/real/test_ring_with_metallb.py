"""A ring of two of ours and one of MetalLB's speakers, as far as its memberlist goes: who may answer for what.

The speaker publishes nothing; that it answers for what its own order gives it is taken for granted, and is nobody's
business here. What its order is, this file computes by itself.
"""

from __future__ import annotations

import contextlib
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from lab import Lab, wait_until
from lab.peers.memberlist import METALLB, Gossiper, theirs
from lab.ring import pool
from tests.real.company import DEADLINE_S, Company, secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lab import Mac

ADDRESSES = pool(200)
SECRET = "c2VjcmV0IG9mIHNpeHRlZW4"
KEY = (SECRET.encode() + sha256(b"").digest())[:32]
pytestmark = pytest.mark.timeout(600)  # the first one of these ever builds the Go program


def first(names: Iterable[str], address: str) -> str:
    """Who announces it, in the order of MetalLB's speakers."""
    return min(names, key=lambda name: sha256(f"{name}#{address}".encode()).digest())


def speaker(company: Company) -> Gossiper:
    """The third host's, with the timers that MetalLB has by default."""
    host = company.ring.hosts[2]
    joined = ",".join(f"{company.ring.address(member.host)}:7946" for member in company.members)
    options = ("-bare", "-bind", company.ring.address(host), "-keys", KEY.hex(), "-join", joined)
    return theirs(host, host.name, METALLB, *options)


def wait_shares(company: Company, names: str) -> None:
    """Wait until each of ours has what the order among these gives it."""
    shares = {member.name: 0 for member in company.members}
    for address in ADDRESSES:
        if (name := first(names, address)) in shares:
            shares[name] += 1

    def shared() -> bool:
        views = [member.view() for member in company.members]
        return all({name: view[name]["owned"] for name in shares} == shares for view in views)

    wait_until(shared, DEADLINE_S, what=f"the shares {shares}", every_ms=50)


def answered(company: Company) -> Mapping[str, tuple[Mac, ...]]:
    """Who has answered for each since this was asked last."""
    company.observe(rounds=5)
    heard = company.dismiss()
    company.watch_anew()
    return {address: heard.owners(address) for address in ADDRESSES}


def test_each_has_what_metallbs_order_gives_it_and_nobody_else_has(lab: Lab) -> None:
    options = {"election": "metallb", "key_rule": "metallb", "key_files": [secret(lab, "secret", SECRET)]}
    company = Company(lab, ADDRESSES, options=options)
    company.members.pop()
    macs = {member.name: company.ring.links[member.host].mac for member in company.members}
    with company, contextlib.ExitStack() as lives:
        for names, change in (("abc", "it comes"), ("ab", "it dies"), ("abc", "it comes back")):
            lives.close()
            if "c" in names:
                lives.enter_context(contextlib.closing(speaker(company)))
            wait_shares(company, names)
            company.watch_anew()
            expected = {
                address: (macs[name],) if (name := first(names, address)) in macs else () for address in ADDRESSES
            }
            assert answered(company) == expected, f"{change}: {company.diary()}"
