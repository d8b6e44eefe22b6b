"""What it takes to give a hundred to ten thousand Services their addresses, beside what that costs the API server.

The API server's part is measured by bare clients, which create each Service and write its status, sixteen at a time
(`bare`). Then, in a cluster as new, the same clients only create, and the controller does the rest: from the first
creation until the last status is written. The requests are those that the API server counts. Then the controller is
killed, started again and, at once, a Service more created: how long that waits is what a restart costs. All of it,
etcd, API server, clients and controller, shares two cores: only ratios mean anything.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.town import LONG_S, Town
from bench.writer import name, service
from lab import Lab, wait_until

if TYPE_CHECKING:
    from bench.conftest import Rounds
    from bench.ledger import Ledger

COUNTS = (100, 1_000, 10_000)
BARE, OURS = "bare", "controller"


def test_services(ledger: Ledger, rounds: Rounds) -> None:
    cases = [(count, who) for count in COUNTS for who in (BARE, OURS)]
    for count, who in rounds(cases, lambda one: f"{one[0]:,} Services: {one[1]}"):
        with Lab() as lab:
            town = Town(lab)
            town.make_pool()
            town.warm()
            if who == BARE:
                written = town.write(count, "service", "status")
                took_s = written.seconds
                ledger.add(f"{count:,} Services, requests made again", who, written.again, "")
            else:
                took_s = _given(ledger, town, count)
                _restarted(ledger, town, count)
        ledger.add(f"{count:,} Services, all with addresses", who, took_s, "s")
        ledger.add(f"{count:,} Services, each", who, 1e3 * took_s / count, "ms")
    for count in COUNTS:
        ledger.compare(f"{count:,} Services, all with addresses", OURS, BARE, at_most=1.3)
        for what in ("services/status", "events"):
            case = f"{count:,} Services, requests each: {what}"
            ledger.judge(case, OURS, ledger.of(case, OURS).values, "", at_most=1.05)
    most = f"{COUNTS[-1]:,} Services"
    case = f"{most}, started again until the next has an address"
    ledger.judge(case, OURS, ledger.of(case, OURS).values, "s", at_most=4)
    case = f"{most}, memory"
    ledger.judge(case, OURS, ledger.of(case, OURS).values, "MiB", at_most=150)


def _given(ledger: Ledger, town: Town, count: int) -> float:
    """Seconds from the first creation to the last status."""
    town.begin_controller()
    town.wait_lead()
    asked: dict[str, int] = {}
    with town.asked(asked):
        writer = town.begin_writing(count, "service")
        town.wait_given(count)
        given_s = time.monotonic()
        written = town.finish_writing(writer)
        took_s = given_s - written.began_s
        time.sleep(2)  # for Events and the pool's status, which follow
    ledger.add(f"{count:,} Services, requests made again", OURS, written.again, "")
    for what in ("services/status", "events", "ipaddresspools/status"):
        verbs = ("PATCH", "POST", "PUT", "APPLY")
        many = sum(asked.get(f"{verb} {what}", 0) for verb in verbs)
        ledger.add(f"{count:,} Services, requests each: {what}", OURS, many / count, "")
    ledger.add(f"{count:,} Services, memory", OURS, town.controller.rss_bytes() / 2**20, "MiB")
    ledger.add(f"{count:,} Services, processor time", OURS, town.controller.cpu_s(), "s")
    return took_s


def _restarted(ledger: Ledger, town: Town, count: int) -> None:
    town.controller.kill()
    began_s = time.monotonic()
    town.begin_controller()
    town.api.create(service(count, both=False))

    def has() -> bool:
        return bool(town.api.get("services", name(count))["status"]["loadBalancer"].get("ingress"))

    wait_until(has, LONG_S, what="the next Service to have an address", every_ms=20)
    case = f"{count:,} Services, started again until the next has an address"
    ledger.add(case, OURS, time.monotonic() - began_s, "s")
