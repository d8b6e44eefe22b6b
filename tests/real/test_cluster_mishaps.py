"""What answers goes on, and catches up, whatever becomes of the API server: cut, refusing, forbidding, put back."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from lab import Lab, wait_until
from lab.cluster import Cluster
from lab.manifests import NAMESPACE
from tests.real.cluster_speakers import DEADLINE_S, Speaker, Speakers
from tests.real.inside import Inside, Meddler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.control_plane import ControlPlane

FIRST, SECOND = "192.0.2.100", "192.0.2.101"


@pytest.fixture
def cluster(lab: Lab, installed: ControlPlane) -> Cluster:
    """One node, and a Pod."""
    made = Cluster(lab, installed, 1, proxy=None)
    made.pod("web", made.nodes[0])
    return made


@pytest.fixture
def meddler(cluster: Cluster, installed: ControlPlane) -> Iterator[Meddler]:
    """Between the node and the API server."""
    inside = Inside(cluster.nodes[0].host)
    made = Meddler(inside, installed)
    yield made
    made.close()
    inside.close()


def since(speaker: Speaker, address: str) -> float:
    """Since when it has answered for it without a break."""
    (link,) = [each for each in speaker.ask("explain", address)["links"] if each["interface"] == "eth0"]
    assert link["phase"] == "answering"
    return float(link["since_unix_s"])


def test_one_that_cuts_refuses_and_forbids(cluster: Cluster, meddler: Meddler, installed: ControlPlane) -> None:
    config = meddler.kubeconfig(installed.account_kubeconfig(NAMESPACE, "speaker"))
    speakers = Speakers(cluster, "--kubeconfig", str(config))
    (speaker,) = speakers.all
    names = iter(f"s{number}" for number in range(100))

    def change() -> str:
        """Something that it has to hear of: another Service with an address."""
        name = next(names)
        cluster.service(name)
        cluster.set_ingress(name, address := f"192.0.2.{110 + int(name[1:])}")
        return address

    cluster.service("web")
    cluster.set_ingress("web", FIRST)
    speakers.wait_owner(FIRST)
    began = since(speaker, FIRST)

    before = meddler.accepted
    meddler.cut_every(1.0)
    for _ in range(4):
        speakers.wait_owner(change())
    wait_until(lambda: meddler.accepted >= before + 20, DEADLINE_S, what="it to have been cut", every_ms=50)
    speakers.wait_owner(change())
    meddler.behave()

    for code, headers in ((500, {}), (503, {}), (429, {"Retry_After": "1"})):
        told = f": {code}"
        lines = speaker.process.output.count(told)
        meddler.refuse(code, **headers)
        address = change()
        wait_until(
            lambda told=told, lines=lines: speaker.process.output.count(told) > lines,  # type: ignore[misc]
            DEADLINE_S, what=f"{code} to be logged", every_ms=50,
        )  # fmt: skip
        assert speaker.ask("explain", FIRST)["ring"]["ours"]
        meddler.behave()
        speakers.wait_owner(address)

    role = installed.api.get("roles", "speaker", NAMESPACE)
    some = [rule for rule in role["rules"] if "servicel2statuses" not in rule["resources"]]
    assert len(some) < len(role["rules"])
    installed.api.patch("roles", "speaker", {"rules": some}, NAMESPACE)
    try:
        meddler.cut()
        for told in ("watch servicel2statuses.metallb.io", "create servicel2statuses.metallb.io"):
            address = change()
            wait_until(
                lambda told=told: any(  # type: ignore[misc]
                    told in line and f"{HTTPStatus.FORBIDDEN} Forbidden" in line
                    for line in speaker.process.output.splitlines()
                ),
                DEADLINE_S, what=f"{told!r} to be logged as forbidden", every_ms=50,
            )  # fmt: skip
            speakers.wait_owner(address)
    finally:
        installed.api.patch("roles", "speaker", {"rules": role["rules"]}, NAMESPACE)
    wait_until(
        lambda: len(speakers.statuses()) == len(installed.api.list("services", "default")) - 1,
        DEADLINE_S, what="a status of each Service", every_ms=50,
    )  # fmt: skip
    assert since(speaker, FIRST) == pytest.approx(began, abs=1.0), "expected it to have been answered all the time"


def test_one_whose_store_is_put_back(cluster: Cluster, installed: ControlPlane) -> None:
    """What its state says then is answered, though it was otherwise since."""
    speakers = Speakers(cluster)
    (speaker,) = speakers.all
    cluster.service("web")
    cluster.set_ingress("web", FIRST)
    speakers.wait_owner(FIRST)
    saved = installed.save()
    cluster.set_ingress("web", SECOND)
    cluster.service("later")
    cluster.set_ingress("later", FIRST)
    wait_until(lambda: speaker.ask("explain", FIRST)["services"] == ["default/later"], DEADLINE_S, what="it to be")
    speakers.wait_owner(SECOND)
    installed.restore(saved)
    wait_until(lambda: speaker.ask("explain", FIRST)["services"] == ["default/web"], DEADLINE_S, what="it to be again")
    wait_until(lambda: not speaker.ask("explain", SECOND)["wanted"], DEADLINE_S, what="the other to be let go")
    speakers.wait_owner(FIRST)
