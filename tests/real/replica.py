"""`python -m controller` as a replica of the Deployment: beside the control plane, by its ServiceAccount's rights."""

from __future__ import annotations

import http.client
import re
import signal
import sys
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from lab import DeadlineError, wait_until
from lab.manifests import NAMESPACE

if TYPE_CHECKING:
    from lab.api import Json
    from lab.control_plane import ControlPlane
    from lab.process import Process

LONG_S = 60.0
"""Python and the official client take their time to start on a busy machine."""
_PORTS = count(9201)


class Replica:
    """One replica; `start` it."""

    def __init__(self, control: ControlPlane, name: str = "one", *options: str) -> None:
        """`options` are added to those of the manifest."""
        self.control, self.name, self.options = control, name, options
        self.port, self.webhook_port = next(_PORTS), next(_PORTS)
        self.process: Process

    def start(self) -> Replica:
        """Start it, and do not wait."""
        kubeconfig = self.control.account_kubeconfig(NAMESPACE, "controller")
        self.process = self.control.host.spawn([
            sys.executable, "-P", "-m", "controller", "--kubeconfig", kubeconfig, "--namespace", NAMESPACE,
            "--pod-name", self.name, "--ml-secret-name=memberlist", "--deployment=controller", "--log-format=json",
            f"--port={self.port}", "--health-probe-port=0", f"--webhook-port={self.webhook_port}", *self.options,
        ])  # fmt: skip
        return self

    def wait_ready(self) -> Replica:
        """Until it says so."""
        wait_until(lambda: self.get("/readyz")[0] == http.client.OK, LONG_S, what=f"replica {self.name} to be ready")
        return self

    def wait_lead(self) -> Replica:
        """Until it gives addresses."""
        wait_until(
            lambda: self.number("arpfast_controller_leads_bool") == 1, LONG_S, what=f"replica {self.name} to lead"
        )
        return self

    def get(self, path: str) -> tuple[int, str]:
        """What it answers over HTTP; status 0: nothing."""
        assert self.process.alive, self.process.output
        with suppress(OSError, http.client.HTTPException):
            return self.control.host.call(_get, self.port, path)
        return 0, ""

    def number(self, name: str) -> float | None:
        """A metric, by its name and labels; None, if there is none."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else None

    def kill(self) -> None:
        """Where it stands."""
        self.process.kill()

    def freeze(self) -> None:
        """Let it stand still."""
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.signal(signal.SIGCONT)

    def stop(self) -> None:
        """As a kubelet does."""
        assert self.process.stop() == 0, self.process.output


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def make_pool(control: ControlPlane, name: str, *addresses: str, **spec: object) -> Json:
    """An IPAddressPool, made or made so."""
    return control.api.apply({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"addresses": list(addresses), **spec},
    })  # fmt: skip


def make_service(control: ControlPlane, name: str, annotations: dict[str, str] | None = None, **spec: object) -> Json:
    """A Service of type LoadBalancer, without endpoints."""
    wish = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}]}
    metadata = {"name": name, "namespace": "default", "annotations": annotations or {}}
    return control.api.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": wish | spec})


def addresses(control: ControlPlane) -> dict[str, tuple[str, ...]]:
    """What each Service of type LoadBalancer has."""
    found = [each for each in control.api.list("services", "default") if each["spec"]["type"] == "LoadBalancer"]
    return {
        each["metadata"]["name"]: tuple(one["ip"] for one in each["status"]["loadBalancer"].get("ingress", ()))
        for each in found
    }


def wait_addresses(control: ControlPlane, **expected: tuple[str, ...]) -> None:
    """Until these Services, and no others, have these addresses."""
    found: dict[str, tuple[str, ...]] = {}

    def as_expected() -> bool:
        nonlocal found
        found = addresses(control)
        return found == expected

    try:
        wait_until(as_expected, LONG_S, every_ms=20, what=f"addresses to be {expected}")
    except DeadlineError as error:
        error.add_note(f"the Services have {found}")
        raise
