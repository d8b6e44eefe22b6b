"""Speakers as a cluster runs them: the command, by its account, with the settings of the DaemonSet, a Pod each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from arpfast.control import Client, Request, Unreachable
from lab import wait_until
from lab.manifests import NAMESPACE, render
from lab.programs import GOBGP, GOBGPD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.api import Json
    from lab.cluster import Cluster, Node
    from lab.process import Process

DEADLINE_S = 60.0
"""Generous: a loaded machine of two cores must not fail a test that waits for what surely comes."""
SECRET = "AAECAwQFBgcICQoLDA0ODw"


class Speaker:
    """The one of a node; `start` it."""

    def __init__(self, cluster: Cluster, node: Node, *options: str, bgp: bool = False) -> None:
        """`options` are added to its command line; `bgp`: it has a daemon beside it, too."""
        self.cluster, self.node, self.name = cluster, node, node.name
        directory = cluster.lab.directory / f"speaker-{node.name}"
        directory.mkdir()
        (directory / "secretkey").write_text(SECRET)
        (directory / "excluded.yaml").write_text(yaml.safe_dump({"announcedInterfacesToExclude": ["^mgmt"]}))
        self.control = directory / "control.sock"
        kubeconfig = cluster.control.account_kubeconfig(NAMESPACE, "speaker")
        self._options = [
            *("--kubeconfig", str(kubeconfig), "--control", str(self.control)),
            *("--exclude-interfaces", str(directory / "excluded.yaml"), "--log-format", "json", *options),
        ]
        self.socket = directory / "gobgp" / "api.sock"
        self.gobgpd: Process | None = None
        if bgp:
            self._options += ["--gobgp", str(self.socket)]
        (container,) = next(each for each in render() if each["kind"] == "DaemonSet")["spec"]["template"]["spec"][
            "containers"
        ]
        self._command = [sys.executable, *container["command"][1:]]
        fields = {
            "spec.nodeName": node.name,
            "metadata.namespace": NAMESPACE,
            "metadata.name": f"speaker-{node.name}",
            "status.podIP": node.addresses[0],
        }
        self._environment = {
            each["name"]: each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
            for each in container["env"]
        } | {"METALLB_ML_SECRET_KEY_PATH": str(directory)}

    def start(self) -> None:
        """Start it, with a Pod of its own, and wait until it says so."""
        self.enter()
        self.wait_started()

    def enter(self) -> None:
        """Start it, with a Pod of its own."""
        if "--gobgp" in self._options:
            self.begin_gobgpd()
        labels = {"app": "metallb", "component": "speaker"}
        self.cluster.api.delete("pods", f"speaker-{self.name}", NAMESPACE)
        self.cluster.make_pod(f"speaker-{self.name}", self.name, self.node.addresses, labels, namespace=NAMESPACE)
        self._spawn()

    def begin(self) -> None:
        """Start it with the Pod that there is, and wait until it says so."""
        self._spawn()
        self.wait_started()

    def _spawn(self) -> None:
        self.process = self.node.host.spawn([*self._command, *self._options], environment=self._environment)

    def wait_started(self) -> None:
        """Until it says so."""
        self.process.wait_for_line('"started"', DEADLINE_S)

    def begin_gobgpd(self) -> None:
        """Start the daemon beside it as its container does, without any of root's rights; wait until it answers."""
        (daemonset,) = (each for each in render("bgp") if each["kind"] == "DaemonSet")
        (container,) = daemonset["spec"]["template"]["spec"]["initContainers"]
        *shell, script = container["command"]
        script = script.replace("/run/gobgp/private", str(self.socket.parent)).replace(
            "exec gobgpd", f"exec {GOBGPD.path()}"
        )
        powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
        self.gobgpd = self.node.host.spawn([*powerless, *shell, script])
        probe = [GOBGP.path(), f"--target=unix://{self.socket}", *container["livenessProbe"]["exec"]["command"][2:]]
        wait_until(
            lambda: self.node.host.run(probe, check=False).status == 0, DEADLINE_S, what="gobgpd to answer", every_ms=50
        )

    def ask(self, command: str, address: str = "", namespace: str = "") -> Any:
        """What its control socket says. Raises Refused and Unreachable."""
        given = {"command": command, "address": address, "namespace": namespace}
        with Client(str(self.control)) as client:
            return client.ask(msgspec.convert(given, Request))

    @property
    def ready(self) -> bool:
        """Whether it says so."""
        try:
            return bool(self.ask("status")["ready"])
        except Unreachable:
            return False

    def get(self, path: str, port: int = 17472) -> tuple[int, str]:
        """A GET of what it serves: the status and the body."""
        code = (
            "import sys, urllib.request as r, urllib.error as e\n"
            f"try: a = r.urlopen('http://127.0.0.1:{port}{path}', timeout=20)\n"
            "except e.HTTPError as error: a = error\n"
            "print(a.status); print(a.read().decode(), end='')"
        )
        status, _, body = self.node.host.run([sys.executable, "-I", "-c", code]).stdout.partition("\n")
        return int(status), body


class Speakers:
    """One on every node, ready."""

    def __init__(self, cluster: Cluster, *options: str, bgp: bool = False) -> None:
        """Make a pool that is announced everywhere, and start all."""
        self.cluster = cluster
        self.all = [Speaker(cluster, node, *options, bgp=bgp) for node in cluster.nodes]
        pool = _custom("IPAddressPool", addresses=["192.0.2.100-192.0.2.199", "2001:db8::100/120"])
        cluster.api.create(pool)
        cluster.api.create(_custom("L2Advertisement"))
        self.start()

    def start(self) -> None:
        """Start all, side by side, and wait until they are ready."""
        for speaker in self.all:
            speaker.enter()
        for speaker in self.all:
            speaker.wait_started()
            wait_until(lambda each=speaker: each.ready, DEADLINE_S, what="it to be ready", every_ms=50)  # type: ignore[misc]

    def advertise(self, **advertisement: Any) -> None:
        """Have the pool announced otherwise."""
        self.cluster.api.patch("l2advertisements", "it", {"spec": advertisement}, NAMESPACE)

    def on(self, name: str) -> Speaker:
        """The one of the node of this name."""
        return next(speaker for speaker in self.all if speaker.name == name)

    def but(self, *absent: Speaker) -> list[Speaker]:
        """The others."""
        return [speaker for speaker in self.all if speaker not in absent]

    def wait_owner(self, address: str, present: Iterable[Speaker] | None = None) -> Speaker:
        """Wait until all that are present say that the same one of them owns the address; which."""
        there = self.all if present is None else list(present)

        def said() -> Speaker | None:
            rings = {speaker.name: speaker.ask("explain", address)["ring"] for speaker in there}
            ours = [name for name, ring in rings.items() if ring["ours"]]
            if len(ours) != 1 or {ring["owner"] for ring in rings.values()} != {ours[0]}:
                return None
            return self.on(ours[0])

        owner = wait_until(said, DEADLINE_S, what=f"{address} to have one owner", every_ms=20)
        assert owner
        return owner

    def statuses(self) -> list[tuple[str, str, list[str]]]:
        """All ServiceL2Statuses: the Service, the node, the interfaces."""
        found = self.cluster.api.list("servicel2statuses", NAMESPACE)
        return [
            (status.get("serviceName", ""), status.get("node", ""), [i["name"] for i in status.get("interfaces", ())])
            for status in (each.get("status", {}) for each in found)
        ]

    def events(self, reason: str) -> list[Json]:
        """The Events with this reason."""
        return [each for each in self.cluster.api.list("events.events.k8s.io") if each["reason"] == reason]


def _custom(kind: str, **spec: Any) -> Json:
    metadata = {"name": "it", "namespace": NAMESPACE}
    return {"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec}
