"""A cluster to be measured: a control plane, the controller, nodes with a speaker each, and Services by the thousand.

No kube-proxy runs and no Pod: who answers for an address is what is asked, and so every node takes what is sent to any
address of the pool, and an echo on it says which one was reached, as in `lab/ring.py`.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.writer import name
from lab import Lab, manifests, wait_until
from lab.cluster import Cluster
from lab.control_plane import ControlPlane
from lab.pods import Speaker, begin_controller, custom, ring_key
from lab.ring import LOCAL_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Process

WRITER = Path(__file__).with_name("writer.py")
POOL = ("198.18.64.0/18", "2001:db8::1:0/112")
METRICS_PORT = 9120
LONG_S = 1200.0
"""Ten thousand Services take minutes where two cores have all to do."""


@dataclass(frozen=True)
class Written:
    """When it was begun, by the monotonic clock, how long it took, and what was asked again, as the server was busy."""

    began_s: float
    seconds: float
    again: int


class Town:
    """A control plane with a pool; `begin_controller` and `settle_nodes` do the rest."""

    def __init__(self, lab: Lab) -> None:
        """Start the control plane."""
        self.lab = lab
        self.control = ControlPlane(lab)
        manifests.install(self.control.api)
        self.api = self.control.api
        self.controller: Process
        self.cluster: Cluster
        self.speakers: dict[Host, Speaker] = {}

    def begin_controller(self) -> None:
        """Start it (again), and do not wait."""
        self.controller = begin_controller(self.control)

    def wait_lead(self) -> None:
        """Wait until the controller gives addresses."""
        wait_until(lambda: self.number("arpfast_controller_leads_bool") == 1, 60, what="it to lead", every_ms=20)

    def make_pool(self) -> None:
        """Make the pool, announced by every node."""
        self.api.apply(custom("IPAddressPool", "it", {"addresses": [*POOL]}))
        self.prefer(None)

    def prefer(self, host: Host | None) -> None:
        """Have this node own all addresses, or as the election will have it."""
        wish = {"matchLabels": {"kubernetes.io/hostname": host.name}} if host else {}
        preferred = [{"weight": 100, "preference": wish}] if host else []
        spec = {"interfaces": ["eth0"], "preferredNodeSelectors": preferred}
        self.api.apply(custom("L2Advertisement", "it", spec))

    def settle_nodes(self, *options: str) -> None:
        """Make three nodes, each with a speaker that has these options."""
        self.cluster = Cluster(self.lab, self.control, proxy=None)
        key = ring_key(self.control, self.controller)
        for node in self.cluster.nodes:
            for prefix in POOL:
                node.host.netlink("route", "add", dst=prefix, type="local", table=LOCAL_TABLE, scope="host", oif=1)
            self.speakers[node.host] = Speaker(self.cluster, node, key, *options)
        for speaker in self.speakers.values():
            speaker.begin()
        for speaker in self.speakers.values():
            speaker.process.wait_for_line('"started"', 60)

    # Services

    def write(self, count: int, *what: str, first: int = 0) -> Written:
        """Have `writer.py` write."""
        return self.finish_writing(self.begin_writing(count, *what, first=first))

    @staticmethod
    def finish_writing(writer: Process) -> Written:
        """Wait until it has written all."""
        told = json.loads(writer.wait_for_line(r"^\{.*\}$", LONG_S).group())
        writer.wait()
        return Written(**told)

    def warm(self) -> None:
        """Have a few Services written and deleted: an API server that has just started is slow at first."""
        first, count = 50_000, 20
        self.write(count, "service", "status", first=first)
        for number in range(first, first + count):
            self.api.delete("services", name(number))

    def begin_writing(self, count: int, *what: str, first: int = 0) -> Process:
        """Start it, and do not wait."""
        config = self.control.kubeconfig("admin")
        return self.control.host.spawn([sys.executable, "-P", WRITER, config, str(first), str(count), *what])

    def wait_given(self, count: int) -> None:
        """Wait until so many Services have addresses, and their statuses are written: by what is so, not by what has
        been done, of which a controller that has lost its Lease for a moment, on a busy machine, begins to count anew.
        """
        given = 'metallb_allocator_services_allocated_total{pool="it"}'
        queued = 'arpfast_controller_queued_statuses{resource="services"}'
        wait_until(
            lambda: (self.number(given) or 0) >= count and self.number(queued) == 0, LONG_S,
            what=f"{count} Services to have addresses", every_ms=20 + count // 20,  # being asked costs it time
        )  # fmt: skip

    def address(self, number: int) -> str:
        """What a Service has been given; raises LookupError."""
        balancer = self.api.get("services", name(number))["status"]["loadBalancer"]
        return str(balancer["ingress"][0]["ip"])

    def addresses(self) -> list[str]:
        """What all Services have been given, in their order."""
        found = self.api.list("services", "default")
        given = {each["metadata"]["name"]: each["status"].get("loadBalancer", {}) for each in found}
        ours = sorted((one for one in given if one.startswith("s-")), key=lambda one: int(one[2:]))
        return [str(given[one]["ingress"][0]["ip"]) for one in ours]

    @contextmanager
    def asked(self, found: dict[str, int]) -> Iterator[None]:
        """Count the requests that the API server answers meanwhile, by verb, resource and subresource."""
        before = self._requests()
        yield
        for key, count in self._requests().items():
            if count > before.get(key, 0):
                found[key] = count - before.get(key, 0)

    def _requests(self) -> dict[str, int]:
        found: dict[str, int] = {}
        metrics = self.api.text("/metrics")
        for labels, count in re.findall(r"^apiserver_request_total\{(.*)\} (\S+)$", metrics, re.MULTILINE):
            label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            key = f"{label['verb']} {label['resource']}{'/' if label['subresource'] else ''}{label['subresource']}"
            found[key] = found.get(key, 0) + round(float(count))
        return found

    # What it costs

    def number(self, metric: str) -> float | None:
        """A metric of the controller; None if it has none (yet)."""
        assert self.controller.alive, self.controller.output
        try:
            told = self.control.host.call(_get, METRICS_PORT)
        except OSError:
            return None
        found = re.search(rf"^{re.escape(metric)} (\S+)$", told, re.MULTILINE)
        return float(found[1]) if found else None


def idle_percent(processes: list[Process], seconds: float) -> float:
    """How much of a core each of them uses on average while nothing happens."""
    before_s = sum(process.cpu_s() for process in processes)
    time.sleep(seconds)
    return (sum(process.cpu_s() for process in processes) - before_s) / seconds / len(processes) * 100


def _get(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
