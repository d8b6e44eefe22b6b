"""What speakers of a cluster make of a new Service, of a cable that is cut, and of SIGTERM.

Three nodes with a speaker each, a router and a client behind it, as in `failover`; the addresses are those that the
controller gives, and the owners those that MetalLB's election has. Each round makes a cluster for each profile, and
does everything three times there, in random order; between two mishaps all goes back to its owner. *Created* is from
before the API server is asked to create a Service until a witness, that asks every millisecond, has an answer: by ARP,
for an address that the Service asks for. The thousand are given to one node by `preferredNodeSelectors`.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from bench import mishaps
from bench.contenders import Arpfast
from bench.mishaps import Outcome, played
from bench.stage import wait_answered
from bench.town import Town
from bench.writer import endpoint_slice, name, service
from lab import DeadlineError, Lab, wait_until

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger

FEW, MANY = 20, 1_000
CREATED, TRIALS = 10, 3
NEXT = 10_000
"""The number of the first Service that is created alone."""
PROFILES = ("default", "fast")
CASES = ("created", "cable cut", "SIGTERM", f"{MANY:,} addresses, cable cut")
GOALS = {  # of the default profile and the fast one
    "cable cut: outage": ("ms", 1000, 150),
    "SIGTERM: lost": ("probes", 0, 0),
    "SIGTERM: two owners for": ("ms", 0, 0),
    f"{MANY:,} addresses, cable cut: last answered": ("ms", 1100, 300),
}


def test_speakers(ledger: Ledger, rounds: Rounds) -> None:
    ledger.number = "p99"
    for profile in rounds(PROFILES, str):
        with Lab() as lab:
            town = _town(lab, profile)
            for case in random.sample(CASES * TRIALS, len(CASES) * TRIALS):
                try:
                    _measure(ledger, town, case, profile)
                except DeadlineError as error:
                    ledger.notes.append(f"{case}: {profile}: a trial went wrong: {str(error).splitlines()[0]}")
                    break  # who knows what state it is in
    for case, (unit, *goals) in GOALS.items():
        for profile, goal in zip(PROFILES, goals, strict=True):
            ledger.judge(case, profile, ledger.of(case, profile).values, unit, at_most=goal)
    for profile in PROFILES:
        values = ledger.of("created: first answer", profile).values
        ledger.judge("created: first answer", profile, values, "ms", at_most=60)


def _town(lab: Lab, profile: str) -> Town:
    town = Town(lab)
    town.make_pool()
    town.begin_controller()
    town.wait_lead()
    town.settle_nodes("--profile", profile)
    town.write(MANY, "slice", "service", "both")
    town.wait_given(MANY)
    return town


def _measure(ledger: Ledger, town: Town, case: str, profile: str) -> None:
    ring = town.cluster.ring
    if case == "created":
        for ms in _created(town):
            ledger.add("created: first answer", profile, ms, "ms")
        return
    many = case.startswith(f"{MANY:,}")
    addresses = town.addresses()
    ring.addresses = tuple(addresses[:MANY] if many else addresses[:FEW])
    town.prefer(ring.hosts[0] if many else None)
    if many:
        _wait_gathered(town)
    mishap = mishaps.stop if case == "SIGTERM" else mishaps.cut
    outcome = played(ring, Arpfast(profile), town.speakers, mishap)
    if case == "SIGTERM":
        ledger.add(f"{case}: lost", profile, outcome.lost(), "probes")
        ledger.add(f"{case}: two owners for", profile, outcome.two_owners(), "ms")
        town.speakers[outcome.play.victim].start()
    else:
        ledger.add(f"{case}: {'last answered' if many else 'outage'}", profile, outcome.outage(), "ms")
        if many:
            ledger.add(f"{case}: first answered", profile, _first(outcome), "ms")
        ring.heal()
    time.sleep(5)  # who comes back is held down for a while, and must not take over in the midst of what follows


def _created(town: Town) -> list[float]:
    """Milliseconds from wishing for a Service to an answer for its address, many times."""
    took = []
    for number in range(NEXT, NEXT + CREATED):
        address = f"198.18.127.{number - NEXT + 1}"
        town.api.create(endpoint_slice(number, both=False))
        wish = service(number, both=False)
        wish["metadata"] = {"name": name(number), "annotations": {"metallb.io/loadBalancerIPs": address}}
        began_s = time.monotonic()
        town.api.create(wish)
        wait_answered(town.cluster.ring.witness, address, deadline_s=30, every_ms=1)
        took.append(1e3 * (time.monotonic() - began_s))
    for number in range(NEXT, NEXT + CREATED):
        town.api.delete("services", name(number))
        town.api.delete("endpointslices", name(number))
    return took


def _wait_gathered(town: Town) -> None:
    """Wait until the first node has all addresses, as the router sees it."""
    ring = town.cluster.ring

    def gathered() -> bool:
        owners = ring.owners()
        for address, owner in owners.items():
            if owner is None:
                ring.router.poke(address)
        return set(owners.values()) == {ring.hosts[0]}

    wait_until(gathered, 120, what="one node to have all addresses", every_ms=500)


def _first(outcome: Outcome) -> float:
    """Until the first address was answered by another."""
    taken = outcome.delivered.moved(outcome.play.began_ns, host=outcome.play.victim.number)
    return min(min(taken.values(), default=mishaps.LIMIT_MS), mishaps.LIMIT_MS)
