"""What the manifests run, started by hand: nobody runs Pods in the lab's cluster.

The command, its options and its environment are those of `deploy/kubernetes`, its rights those of its ServiceAccount;
only where the API server is, where sockets are, and what a test or a benchmark asks for besides is added.
"""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

from lab.manifests import NAMESPACE, render
from lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.api import Json
    from lab.cluster import Cluster, Node
    from lab.control_plane import ControlPlane
    from lab.process import Process

DEADLINE_S = 60.0


def container(kind: str) -> dict[str, Any]:
    """What a Deployment or DaemonSet runs."""
    workload = next(thing for thing in render() if thing["kind"] == kind)
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(only)


def environment(told: dict[str, Any], fields: Mapping[str, str]) -> dict[str, str]:
    """Its environment, where a Pod has these fields."""
    return {
        each["name"]: each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in told["env"]
    }


def custom(kind: str, name: str, spec: Json) -> Json:
    """One of the custom resources."""
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec}


def begin_controller(control: ControlPlane, *options: str) -> Process:
    """Start what the Deployment runs, beside the API server, and do not wait; `options` are added."""
    told = container("Deployment")
    fields = {"metadata.namespace": NAMESPACE, "metadata.name": "controller-1"}
    kubeconfig = str(control.account_kubeconfig(NAMESPACE, "controller"))
    command = [sys.executable, *told["command"][1:], *told.get("args", ())]
    command += ["--kubeconfig", kubeconfig, "--log-format", "json", *options]
    return control.host.spawn(command, environment=environment(told, fields))


def ring_key(control: ControlPlane, controller: Process) -> bytes:
    """The key of the speakers' ring, once the controller has made it."""

    def found() -> bytes:
        assert controller.alive, controller.output
        secrets = control.api.list("secrets", NAMESPACE, fieldSelector="metadata.name=memberlist")
        return base64.b64decode(secrets[0]["data"]["secretkey"]) if secrets else b""

    return wait_until(found, DEADLINE_S, what="the ring's key to be made", every_ms=50)


class Speaker:
    """What the DaemonSet runs on one node."""

    def __init__(self, cluster: Cluster, node: Node, key: bytes, *options: str) -> None:
        """`key` is what the Secret has, `options` are added to the command line; `start` it."""
        self.cluster, self.node, self._options = cluster, node, options
        self.directory = cluster.lab.directory / f"speaker-{node.name}"
        self.directory.mkdir()
        (self.directory / "secretkey").write_bytes(key)
        (self.directory / "secretkey").chmod(0o400)
        self.control = self.directory / "control.sock"
        self.process: Process
        labels = {"app": "metallb", "component": "speaker"}
        cluster.make_pod(f"speaker-{node.name}", node.name, node.addresses, labels, namespace=NAMESPACE)

    def begin(self) -> None:
        """Start it (again), and do not wait."""
        told = container("DaemonSet")
        fields = {
            "spec.nodeName": self.node.name, "metadata.namespace": NAMESPACE, "status.podIP": self.node.addresses[0],
            "metadata.name": f"speaker-{self.node.name}",
        }  # fmt: skip
        where = {"METALLB_ML_SECRET_KEY_PATH": str(self.directory)}
        kubeconfig = self.cluster.control.account_kubeconfig(NAMESPACE, "speaker")
        added = ["--kubeconfig", str(kubeconfig), "--control", str(self.control), "--log-format", "json"]
        command = [sys.executable, *told["command"][1:], *told.get("args", ()), *added, *self._options]
        self.process = self.node.host.spawn(command, environment=environment(told, fields) | where)

    def start(self) -> None:
        """Start it (again), and wait until it says so."""
        self.begin()
        self.process.wait_for_line('"started"', DEADLINE_S)

    def stop(self) -> None:
        """Tell it to end, as a kubelet does, and wait until it has."""
        self.process.stop(DEADLINE_S)

    def kill(self) -> None:
        """Kill it where it stands."""
        self.process.kill()
