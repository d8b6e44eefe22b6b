"""Changes under load: what does not change is answered without a gap, and one noisy asker starves no other."""

from typing import Any

import pytest

from lab import Lab, Link, wait_until
from lab.generator import Flood
from tests.real.stage import DEADLINE_S, Daemon, pair


@pytest.fixture
def cable(lab: Lab) -> tuple[Link, Link]:
    return pair(lab)


@pytest.mark.parametrize(("first", "reloads"), [("192.0.2.10", 300), ("2001:db8::10", 100)])
def test_hundreds_of_reloads_under_ten_thousand_requests_a_second_and_none_missed(
    cable: tuple[Link, Link], first: str, reloads: int
) -> None:
    near, far = cable
    kept = ["192.0.2.10-192.0.2.19", "2001:db8::10-2001:db8::19"]
    settings: dict[str, Any] = {"addresses": kept, "announce": {"probe": "off", "repeat": 1, "refresh": "off"}}
    daemon = Daemon(far.host, settings=settings)
    daemon.wait_phase("2001:db8::19")
    flood = Flood.start(near, first, 10, seconds=100, rate_per_s=10_000)
    extra = [["192.0.2.64/26", "2001:db8:1::/120"], ["192.0.2.128/27"], []]
    for count in range(reloads):
        applied = daemon.change({**settings, "addresses": kept + extra[count % 3]})
        assert applied["added"] or applied["removed"]
    flooded = flood.stop()
    asked = flooded.arrived
    assert asked > reloads
    answered = flooded.arp_replies if "." in first else flooded.advertisements
    if "." in first:
        assert answered == asked, "each question one answer"
    else:
        assert answered >= asked, "and the advertisements of what came and went"
        assert daemon.verdicts()["reply"] >= asked
    assert daemon.link()["drops"] == 0
    assert daemon.ask("status")["reloads"]["applied"] == reloads


def test_sighups_in_a_heap_end_with_the_last_settings(cable: tuple[Link, Link]) -> None:
    _, far = cable
    settings: dict[str, Any] = {"addresses": ["192.0.2.10"], "announce": {"probe": "off", "refresh": "off"}}
    daemon = Daemon(far.host, settings=settings)
    for last in range(11, 61):
        daemon.write({**settings, "addresses": ["192.0.2.10", f"192.0.2.{last}"]})
        daemon.reload()
    daemon.wait_phase("192.0.2.60")
    wait_until(lambda: daemon.on("192.0.2.59")["phase"] == "absent", DEADLINE_S)
    assert daemon.ask("status")["addresses"]["own"] == 2


@pytest.mark.parametrize("first", ["192.0.2.10", "2001:db8::10"])
def test_a_flood_from_one_mac_does_not_starve_a_polite_one(cable: tuple[Link, Link], first: str) -> None:
    near, far = cable
    settings = {
        "addresses": ["192.0.2.10", "2001:db8::10"],
        "announce": {"probe": "off", "repeat": 1, "refresh": "off"},
        "rate_limit": {"per_mac": 100, "burst": 100, "total": 2000},
    }
    daemon = Daemon(far.host, settings=settings)
    daemon.wait_phase("2001:db8::10")
    flooded = Flood.start(near, first, seconds=2, rate_per_s=50_000, polite_every_s=0.05).wait()
    assert flooded.polite_asked >= 10
    assert flooded.polite_answered == flooded.polite_asked
    assert flooded.replies < flooded.offered / 10, "and the noisy one was held back"
    # By whom is the machine's business: the thread, the filter before its socket, or the guard before that.
    kernel, thread = daemon.ask("status")["filter"], daemon.verdicts().get("limited", 0)
    assert thread + kernel.get("limited", 0) + kernel.get("guard_limited", 0) > 0, (thread, kernel)
