"""The kernel answers for a member of a ring: it stops when its daemon does, and before another begins."""

from __future__ import annotations

import signal
from ipaddress import ip_address

import pytest

from lab import Arp, Lab, Mac, wait_until
from lab.frames import REPLY
from lab.ring import pool
from tests.real.company import DEADLINE_S, Company

ADDRESSES = pool(6)


@pytest.mark.parametrize("profile", ["default", "fast"])
def test_a_frozen_owner_is_succeeded_and_never_do_two_answer(lab: Lab, profile: str) -> None:
    """Only its daemon stands still: its kernel hears every question, and could answer for ever."""
    with Company(lab, ADDRESSES, options={"profile": profile}, settings={"backend": "tc"}) as company:
        victim = company.check()[ADDRESSES[0]]
        mac, witness = company.ring.links[victim.host].mac, company.ring.witness
        question = Arp.request(witness.mac, "192.0.2.9", ADDRESSES[0]).encode()
        with witness.host.capture(witness) as capture:

            def answerers() -> list[Mac]:
                heard = [frame.decoded for frame in capture.frames() if not frame.outgoing]
                about = ip_address(ADDRESSES[0])
                return [
                    one.sha for one in heard if isinstance(one, Arp) and one.operation == REPLY and one.spa == about
                ]

            def ask() -> list[Mac]:
                witness.host.inject(witness, question)
                return answerers()

            wait_until(lambda: len(ask()) > 20, DEADLINE_S, what="the owner to answer", every_ms=5)
            wait_until(
                lambda: victim.ask("status")["links"][0]["in_kernel"] > 0, DEADLINE_S, what="its kernel to count"
            )
            victim.process.signal(signal.SIGSTOP)
            wait_until(lambda: ask()[-1] != mac, DEADLINE_S, what="another to answer", every_ms=5)
            wait_until(lambda: len(ask()) > 200, DEADLINE_S, what="it to go on", every_ms=2)
            told = answerers()
            assert mac not in told[next(at for at, one in enumerate(told) if one != mac) :]
            victim.process.signal(signal.SIGCONT)
        company.check()
