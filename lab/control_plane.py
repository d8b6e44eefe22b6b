"""The control plane of a cluster: etcd, kube-apiserver and kube-controller-manager, real ones, on a host of their own.

    control ---- management ---- the nodes' `mgmt`        10.98.0.1/16, fd98::1/64

Whoever is to reach the API server is linked to the switch `management`, as `lab.cluster` does with its nodes; the test
itself needs no link, for `api` opens its connections inside. Of the controllers only those run that turn Pods into
EndpointSlices, empty namespaces and collect garbage: nodes and Pods are objects made by hand. RBAC is on; `api` is
everybody's master, all others have what they are bound to. The admission of ServiceAccounts is off, so that a Pod may
be made that nobody runs.

One control plane serves many tests. What there is when it is ready, and all before `keep()`, survives `clean()`.
"""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import signal
import socket
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lab.api import Api, ApiError, Connections
from lab.certificates import Authority, new_key, write_key
from lab.programs import APISERVER, CONTROLLER_MANAGER, ETCD
from lab.waiting import wait_until

if TYPE_CHECKING:
    from lab.api import Json, Resource
    from lab.network import Lab
    from lab.process import Process

ADDRESS, ADDRESS_6, PORT = "10.98.0.1", "fd98::1", 6443
SERVER = f"https://{ADDRESS}:{PORT}"
SERVICE_RANGES = "10.96.0.0/16,fd96::/112"
ISSUER = "https://kubernetes.default.svc"
START_S, STOP_S, CLEAN_S = 60.0, 90.0, 60.0
_ETCD = "http://127.0.0.1:2379"
_OWN_GROUPS = {"apiregistration.k8s.io", "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io"}
_OWN = {"ipaddresses", "servicecidrs", "componentstatuses"}
_OWN_NAMESPACES = {"kube-system", "kube-public", "kube-node-lease"}


class ControlPlane:
    """Ready when made; its lab ends it."""

    def __init__(self, lab: Lab) -> None:
        """Build what has to be built, start it, and wait until it is ready."""
        self.directory = lab.directory / "control"
        self.directory.mkdir(mode=0o700)
        self.host, self.management = lab.host("control"), lab.switch("management")
        self.host.set({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        self.link = self.host.link(self.management, addresses=[f"{ADDRESS}/16", f"{ADDRESS_6}/64"])
        self._tokens = {user: secrets.token_urlsafe(24) for user in ("admin", "system:kube-proxy")}
        self._write()
        tls = ssl.create_default_context(cafile=str(self.authority.path))
        self.api = Api(Connections(self._connect, tls, ADDRESS), self._tokens["admin"])
        self.etcd: Process
        self.apiserver: Process
        self.manager: Process
        self.start()
        wait_until(self._populated, START_S, what="the API server's own objects", every_ms=20)
        self._kept: set[str] = set()
        self.keep()

    def _write(self) -> None:
        """Keys, certificates and tokens."""
        self.authority = Authority(self.directory / "ca.crt")
        names = [ADDRESS, ADDRESS_6, "127.0.0.1", "localhost", "kubernetes.default.svc"]
        self._certificate, self._key = self.authority.sign(self.directory / "apiserver", names)
        write_key(self.directory / "accounts.key", new_key())
        groups = {"admin": "system:masters"}
        lines = [f'{token},{user},{user},"{groups.get(user, "")}"\n' for user, token in self._tokens.items()]
        (self.directory / "tokens.csv").write_text("".join(lines))

    def _connect(self) -> socket.socket:
        return self.host.call(socket.create_connection, (ADDRESS, PORT), 10.0)

    # Its life

    def start(self) -> None:
        """Start what does not run, and wait until the API server is ready."""
        self.start_etcd()
        self.start_apiserver()
        manager = getattr(self, "manager", None)
        if manager is None or not manager.alive:
            self.manager = self.host.spawn([
                CONTROLLER_MANAGER.path(), "--kubeconfig", self.kubeconfig("admin"), "--leader-elect=false",
                "--controllers=endpointslice-controller,namespace-controller,garbage-collector-controller",
                "--secure-port=0", "--kube-api-qps=1000", "--kube-api-burst=2000",
                "--concurrent-gc-syncs=5", "--concurrent-endpoint-syncs=5",
            ])  # fmt: skip

    def start_etcd(self) -> None:
        """Start etcd, unless it runs. It answers within a second."""
        if not (getattr(self, "etcd", None) and self.etcd.alive):
            peers = "http://127.0.0.1:2380"
            self.etcd = self.host.spawn([
                ETCD.path(), "--name=etcd", "--data-dir", self.directory / "etcd", "--unsafe-no-fsync",
                "--listen-client-urls", _ETCD, "--advertise-client-urls", _ETCD, "--listen-peer-urls", peers,
                "--initial-advertise-peer-urls", peers, f"--initial-cluster=etcd={peers}", "--log-level=warn",
            ])  # fmt: skip
        wait_until(self._etcd_serves, START_S, what="etcd to be ready", every_ms=20)

    def _etcd_serves(self) -> bool:
        assert self.etcd.alive, self.etcd.output
        with suppress(OSError):
            self.host.call(socket.create_connection, ("127.0.0.1", 2379), 1.0).close()
            return True
        return False

    def start_apiserver(self) -> None:
        """Start the API server, unless it runs, and wait until it is ready."""
        if not (getattr(self, "apiserver", None) and self.apiserver.alive):
            accounts = self.directory / "accounts.key"
            self.apiserver = self.host.spawn([
                APISERVER.path(), "--etcd-servers", _ETCD, "--bind-address=0.0.0.0", f"--secure-port={PORT}",
                "--advertise-address", ADDRESS, "--endpoint-reconciler-type=none", "--profiling=false",
                "--shutdown-watch-termination-grace-period=1s",
                "--tls-cert-file", self._certificate, "--tls-private-key-file", self._key,
                "--token-auth-file", self.directory / "tokens.csv", "--authorization-mode=RBAC",
                "--service-account-issuer", ISSUER, "--service-account-key-file", accounts,
                "--service-account-signing-key-file", accounts, "--service-cluster-ip-range", SERVICE_RANGES,
                "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true",
                "--enable-aggregator-routing=true",  # webhooks are reached at their Pods: no kube-proxy runs here
            ])  # fmt: skip
        wait_until(self._ready, START_S, what="the API server to be ready", every_ms=50)

    def _ready(self) -> bool:
        assert self.apiserver.alive, self.apiserver.output
        with suppress(OSError, http.client.HTTPException, ApiError):
            return self.api.text("/readyz") == "ok"
        return False

    def _populated(self) -> bool:
        with suppress(ApiError):
            self.api.get("services", "kubernetes")
            return {"default"} | _OWN_NAMESPACES <= {each["metadata"]["name"] for each in self.api.list("namespaces")}
        return False

    def stop_apiserver(self) -> None:
        """Ask the API server to end, and wait until it has."""
        self.apiserver.signal(signal.SIGTERM)
        self.apiserver.wait(STOP_S)

    def kill_apiserver(self) -> None:
        """Kill it where it stands."""
        self.apiserver.kill()

    def stop(self) -> None:
        """End everything, the API server before its etcd: without that it would linger."""
        self.manager.kill()
        self.kill_apiserver()
        self.etcd.stop()

    def save(self) -> Path:
        """Copy what etcd has, for `restore`; the control plane stands still meanwhile."""
        saved = Path(tempfile.mkdtemp(prefix="saved-", dir=self.directory)) / "etcd"
        self.stop()
        shutil.copytree(self.directory / "etcd", saved)
        self.start()
        return saved

    def restore(self, saved: Path) -> None:
        """Put etcd back to an older state, with older revisions, as after a disaster."""
        self.stop()
        shutil.rmtree(self.directory / "etcd")
        shutil.copytree(saved, self.directory / "etcd")
        self.start()

    # Who may ask

    def kubeconfig(self, user: str) -> Path:
        """A kubeconfig file for one of `admin` and `system:kube-proxy`."""
        return self._kubeconfig(user, self._tokens[user])

    def account_kubeconfig(self, namespace: str, name: str, *, for_s: int = 3600) -> Path:
        """A kubeconfig file for a ServiceAccount, with a token of its own (TokenRequest)."""
        return self._kubeconfig(f"{namespace}-{name}", self.token(namespace, name, for_s=for_s))

    def token(self, namespace: str, name: str, *, for_s: int = 3600) -> str:
        """A new token of a ServiceAccount, as `kubectl create token` makes one."""
        wish = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": for_s},
        }  # fmt: skip
        path = self.api.resource("serviceaccounts").path(name, namespace, "token")
        return str(self.api.call("POST", path, wish)["status"]["token"])

    def _kubeconfig(self, user: str, token: str) -> Path:
        path = self.directory / f"{user.replace(':', '-')}.kubeconfig"
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        cluster = {"server": SERVER, "certificate-authority": str(self.authority.path)}
        whole = {
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        }  # fmt: skip
        new.write_text(json.dumps(whole, indent=1))
        return new.replace(path)  # whole at once: somebody who was started before may be reading it

    # One test after another

    def keep(self) -> None:
        """Let all that there is now survive `clean`."""
        self._kept = self.paths()

    def paths(self) -> set[str]:
        """Of all objects but the API server's own."""
        return {path for _, things in self._all() for path in things}

    def clean(self) -> None:
        """Delete everything else, and wait until it is gone. What was kept and then changed stays as it is."""
        wait_until(self._cleaned, CLEAN_S, what="the cluster to be empty", every_ms=20)

    def _cleaned(self) -> bool:
        try:
            found = self._all()
        except ApiError as error:
            if error.status != http.client.TOO_MANY_REQUESTS:
                raise
            return False  # a server that has just come back fills its stores of custom resources anew
        left = 0
        for resource, things in found:
            for namespace in {thing["metadata"].get("namespace") for thing in things.values()}:
                there = {path for path, thing in things.items() if thing["metadata"].get("namespace") == namespace}
                left += len(there - self._kept)
                if not there & self._kept and len(there) > 1 and "deletecollection" in resource.verbs:
                    self.api.call("DELETE", f"{resource.path(namespace=namespace)}?gracePeriodSeconds=0")
                    continue
                for path in there - self._kept:
                    with suppress(ApiError):  # it has gone with its owner
                        self._delete(path, things[path])
        return not left

    def _delete(self, path: str, thing: Json) -> None:
        """Delete it; a namespace in two steps, for its controller would wait for 5 s until it looks what is in it."""
        if thing["kind"] == "Namespace" and "deletionTimestamp" in thing["metadata"]:
            self.api.call("PUT", f"{path}/finalize", thing | {"spec": {"finalizers": []}})
        else:
            self.api.call("DELETE", f"{path}?gracePeriodSeconds=0")

    def _all(self) -> list[tuple[Resource, dict[str, Json]]]:
        """Every object that is not the API server's own, by its path."""
        found = []
        seen = set()
        for resource in self.api.discover():
            mine = resource.group in _OWN_GROUPS or resource.name in _OWN or not {"list", "delete"} <= resource.verbs
            if mine or (resource.group, resource.name) in seen:
                continue
            seen.add((resource.group, resource.name))
            things = {}
            head = {"apiVersion": resource.root.split("/", 2)[2], "kind": resource.kind}  # lists don't repeat it
            for thing in self.api.call("GET", resource.path())["items"]:
                name, namespace = thing["metadata"]["name"], thing["metadata"].get("namespace")
                if (namespace or (name if resource.kind == "Namespace" else "")) not in _OWN_NAMESPACES:
                    things[resource.path(name, namespace)] = head | thing
            found.append((resource, things))
        return found
