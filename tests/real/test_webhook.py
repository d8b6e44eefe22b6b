"""The webhook as the API server asks it: what it refuses of real objects, by which certificate, and when it is gone."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from controller.certificates import Material, renew
from lab import wait_until
from lab.api import ApiError
from lab.control_plane import ADDRESS
from lab.manifests import NAMESPACE, WEBHOOKS, render
from tests.real.replica import LONG_S, Replica, make_pool, make_service, wait_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.api import Json
    from lab.control_plane import ControlPlane

SECRET, SERVICE, CONFIGURATION = "metallb-webhook-cert", "metallb-webhook-service", "metallb-webhook-configuration"
REVIEWS = 'arpfast_webhook_reviews_total{outcome="allowed"}'
PATH = "/validate-metallb-io-v1beta1-ipaddresspool"


@pytest.fixture
def replicas(installed: ControlPlane) -> Iterator[list[Replica]]:
    """Two of them, not started, and the webhooks of the manifests; gone in the end."""
    made = [Replica(installed, "one", "--ml-secret-name="), Replica(installed, "two", "--ml-secret-name=")]
    yield made
    installed.api.delete("validatingwebhookconfigurations", CONFIGURATION)
    for each in made:
        if hasattr(each, "process"):
            each.kill()


def configure(control: ControlPlane, policy: str = "Fail") -> None:
    """Apply the webhooks."""
    thing = next(thing for thing in render() if thing["kind"] == WEBHOOKS)
    webhooks = [
        each if each["failurePolicy"] == "Ignore" else each | {"failurePolicy": policy} for each in thing["webhooks"]
    ]
    control.api.apply(thing | {"webhooks": webhooks})


def reach(control: ControlPlane, replica: Replica) -> None:
    """Let the Service lead to this one, and wait until the API server goes there, and believes it."""
    control.api.apply({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "lab", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": SERVICE},
        },
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"name": "", "port": replica.webhook_port, "protocol": "TCP"}],
    })  # fmt: skip
    before = replica.number(REVIEWS) or 0

    def asked() -> bool:
        try:
            propose(control, "IPAddressPool", "probe", addresses=["203.0.113.0/32"])
        except ApiError as error:
            if error.status != http.client.INTERNAL_SERVER_ERROR:
                raise
            assert replica.process.alive, replica.process.output
            return False  # it reaches nobody yet, or does not believe him
        return (replica.number(REVIEWS) or 0) > before

    wait_until(asked, LONG_S, what=f"replica {replica.name} to be asked", every_ms=50)


def wish(kind: str, name: str, spec: dict[str, Any]) -> Json:
    version = "v1beta2" if kind == "BGPPeer" else "v1beta1"
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def propose(control: ControlPlane, kind: str, name: str, **spec: Any) -> Json:
    """What would become of it if it were created."""
    thing = wish(kind, name, spec)
    resource = control.api.resource(f"{kind}.metallb.io")
    where = resource.path(namespace=NAMESPACE).split("/", 4)[4]
    return control.api.call("POST", f"/apis/{thing['apiVersion']}/{where}?dryRun=All", thing)


def refusal(control: ControlPlane, kind: str, name: str, **spec: Any) -> str:
    """What is said against it; empty: nothing."""
    try:
        propose(control, kind, name, **spec)
    except ApiError as error:
        return str(error.message)
    return ""


PEER = {"myASN": 64500, "peerASN": 64501}
THERE = [
    wish("IPAddressPool", "main", {"addresses": ["192.0.2.0/25", "2001:db8::/64"]}),
    wish("BGPAdvertisement", "bgp", {"localPref": 100, "communities": ["home"], "peers": ["tor"]}),
    wish("Community", "names", {"communities": [{"name": "home", "value": "64500:1"}]}),
    wish("BFDProfile", "quick", {}),
    wish("BFDProfile", "echo", {"echoMode": True}),
    wish("BGPPeer", "tor", PEER | {"peerAddress": "192.0.2.250", "routerID": "10.0.0.1", "bfdProfile": "quick"}),
    wish("L2Advertisement", "l2", {}),
]
ROWS: list[tuple[str, str, dict[str, Any], str]] = [
    ("a pool that overlaps", "IPAddressPool", {"addresses": ["192.0.2.100-192.0.2.130"]}, "of another entry"),
    ("a pool that overlaps itself", "IPAddressPool", {"addresses": ["10.0.0.0/24", "10.0.0.9/32"]}, "another entry"),
    ("a range downwards", "IPAddressPool", {"addresses": ["10.0.0.9-10.0.0.1"]}, "runs upwards"),
    ("a pool beside it", "IPAddressPool", {"addresses": ["192.0.2.128/25"]}, ""),
    ("an alias twice", "Community", {"communities": [{"name": "home", "value": "1:1"}]}, "each alias once"),
    ("another alias", "Community", {"communities": [{"name": "work", "value": "1:1"}]}, ""),
    ("too wide for a pool", "BGPAdvertisement", {"aggregationLength": 24}, "at least 25, as pool main"),
    ("another preference", "BGPAdvertisement", {"localPref": 200}, "expected 100, as bgp has"),
    ("another preference for another peer", "BGPAdvertisement", {"localPref": 200, "peers": ["spine"]}, ""),
    ("a preference too great", "BGPAdvertisement", {"communities": ["65536:1"]}, "16 bits"),
    ("an alias to come", "BGPAdvertisement", {"localPref": 100, "communities": ["later"]}, ""),
    ("selectors twice", "BGPAdvertisement", {"localPref": 100, "nodeSelectors": [{}, {}]}, "each selector once"),
    ("one neighbour twice", "BGPPeer", PEER | {"peerAddress": "192.0.2.250", "routerID": "10.0.0.1"}, "another neigh"),
    ("another identifier", "BGPPeer", PEER | {"peerAddress": "192.0.2.251", "routerID": "10.0.0.2"}, "as tor has"),
    ("no identifier", "BGPPeer", PEER | {"peerAddress": "192.0.2.251"}, "expected 10.0.0.1"),
    ("a peer beside it", "BGPPeer", PEER | {"peerAddress": "192.0.2.251", "routerID": "10.0.0.1"}, ""),
    ("a profile to come", "BGPPeer",
     PEER | {"peerAddress": "192.0.2.251", "routerID": "10.0.0.1", "bfdProfile": "later"}, ""),
    ("a value twice", "BGPPeer", PEER | {
        "peerAddress": "192.0.2.251", "routerID": "10.0.0.1", "nodeSelectors": [
            {"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Exists"}]},
        ]}, "each expression once"),
    ("selectors twice", "L2Advertisement", {"nodeSelectors": [{}, {}]}, "each selector once"),
    ("interfaces twice", "L2Advertisement", {"interfaces": ["eth0", "eth0"]}, ""),
    ("a selector that is none", "L2Advertisement", {"nodeSelectors": [{"matchLabels": {"-": "x"}}]}, "a label's name"),
    ("another of all pools", "L2Advertisement", {}, ""),
]  # fmt: skip


def test_what_several_objects_tell_together(installed: ControlPlane, replicas: list[Replica]) -> None:
    """Everything that metallb.md §8 has for more than one object, and that one row leaves no trace for the next."""
    api = installed.api
    configure(installed)  # which the API server acts upon as soon as its own watch has told it
    wait_until(lambda: "failed calling webhook" in refusal(installed, "IPAddressPool", "main", **THERE[0]["spec"]),
               LONG_S, what="it to be refused while there is nobody to judge it", every_ms=50)  # fmt: skip
    replica = replicas[0].start()
    reach(installed, replica)
    for thing in THERE:
        api.create(thing)
    for name, kind, spec, said in ROWS:
        told = refusal(installed, kind, "yet-another", **spec)
        assert said in told if said else not told, f"{name}: {told}"
    # changes and deletions
    with pytest.raises(ApiError, match=r"BGPPeer metallb-system/tor: spec.bfdProfile: expected a profile without"):
        api.patch("bgppeers", "tor", {"spec": {"bfdProfile": "echo"}}, NAMESPACE)
    with pytest.raises(ApiError, match=r"BGPPeer metallb-system/tor: spec.bfdProfile"):
        api.delete("bfdprofiles", "quick", NAMESPACE)
    with pytest.raises(ApiError, match=r"BGPAdvertisement metallb-system/bgp: spec.communities"):
        api.delete("communities", "names", NAMESPACE)
    with pytest.raises(ApiError, match=r"BGPAdvertisement metallb-system/bgp: spec.communities"):
        api.patch("communities", "names", {"spec": {"communities": []}}, NAMESPACE)
    api.delete("bgppeers", "tor", NAMESPACE)
    api.delete("bfdprofiles", "quick", NAMESPACE)
    # a pool in another namespace would be read by nobody
    stray = wish("IPAddressPool", "stray", {"addresses": ["10.0.0.0/24"]})
    with pytest.raises(ApiError, match="expected namespace metallb-system"):
        api.create(stray | {"metadata": {"name": "stray", "namespace": "default"}})
    # the pools work, and a BGPPeer of the old version is judged as one of the new
    make_service(installed, "web")
    wait_addresses(installed, web=("192.0.2.0",))
    old = wish("BGPPeer", "old", PEER | {"peerAddress": "192.0.2.9"}) | {"apiVersion": "metallb.io/v1beta1"}
    api.create(old)
    with pytest.raises(ApiError, match="another neighbour than that of old"):
        api.create(old | {"metadata": {"name": "older", "namespace": NAMESPACE}})
    replica.stop()


def test_faults_that_are_there_already(installed: ControlPlane, replicas: list[Replica]) -> None:
    """They hold up nothing else, and can be put right, though no controller has ever been ready."""
    api = installed.api
    make_pool(installed, "a", "192.0.2.0/24")
    make_pool(installed, "b", "192.0.2.0/28")
    configure(installed)
    replica = replicas[0].start()
    reach(installed, replica)
    assert replica.get("/readyz")[0] == http.client.SERVICE_UNAVAILABLE
    assert api.get("services", SERVICE, NAMESPACE)["spec"]["publishNotReadyAddresses"]
    make_pool(installed, "c", "198.51.100.0/24")
    api.patch("ipaddresspools", "b", {"metadata": {"annotations": {"a": "b"}}}, NAMESPACE)
    with pytest.raises(ApiError, match="no address of another entry"):
        api.patch("ipaddresspools", "b", {"spec": {"addresses": ["192.0.2.0/29"]}}, NAMESPACE)
    api.patch("ipaddresspools", "b", {"spec": {"addresses": ["192.0.3.0/29"]}}, NAMESPACE)
    replica.wait_ready()


def test_either_replica_and_none(installed: ControlPlane, replicas: list[Replica]) -> None:
    one, two = (each.start() for each in replicas)
    configure(installed)
    make = wish("IPAddressPool", "a", {"addresses": ["192.0.2.0/24"]})
    for replica in (one, two):
        reach(installed, replica)
        assert refusal(installed, "IPAddressPool", "b", addresses=["192.0.2.9-192.0.2.1"])
    assert one.number("arpfast_webhook_certificate_expiry_seconds") == two.number(
        "arpfast_webhook_certificate_expiry_seconds"
    )
    one.kill()
    two.kill()
    with pytest.raises(ApiError, match="failed calling webhook"):
        installed.api.create(make)
    installed.api.delete("bfdprofiles", "nobody", NAMESPACE)
    configure(installed, "Ignore")
    wait_until(lambda: not refusal(installed, "IPAddressPool", "b", addresses=["192.0.2.9-192.0.2.1"]), LONG_S,
               what="it to be let pass", every_ms=50)  # fmt: skip
    profile = wish("BFDProfile", "quick", {})
    installed.api.create(profile)
    installed.api.delete("bfdprofiles", "quick", NAMESPACE)


def data(control: ControlPlane) -> dict[str, bytes]:
    """What the Secret holds."""
    found = control.api.get("secrets", SECRET, NAMESPACE)["data"]
    return {name: base64.b64decode(value) for name, value in found.items()}


def store(control: ControlPlane, material: Material) -> None:
    """Put something else in the Secret."""
    told = {name: base64.b64encode(value).decode() for name, value in material.data.items()}
    control.api.patch("secrets", SECRET, {"data": told}, NAMESPACE)


def wait_renewed(control: ControlPlane, *before: Material) -> Material:
    """Until the Secret holds something new; what."""
    seen = [each.data for each in before]
    wait_until(lambda: data(control) not in seen, LONG_S, what="it to be renewed", every_ms=50)
    return Material.of(data(control))


def wait_shown(replica: Replica, certificate: bytes) -> None:
    """Until it shows this one."""
    wait_until(lambda: shown(replica) == certificate, LONG_S, what="it to be shown", every_ms=50)


def test_certificates_come_and_go(installed: ControlPlane, replicas: list[Replica]) -> None:
    """Without a restart; the API server believes each as soon as its own watch has told it of the authority."""
    names = [f"{SERVICE}.{NAMESPACE}.svc", f"{SERVICE}.{NAMESPACE}"]
    one, two = (each.start() for each in replicas)
    configure(installed)
    reach(installed, one)
    made = Material.of(data(installed))
    assert made.key
    secret = installed.api.get("secrets", SECRET, NAMESPACE)
    assert [each["kind"] for each in secret["metadata"]["ownerReferences"]] == ["Deployment"]
    now = datetime.now(UTC)
    for old in (
        renew(made, names, now - timedelta(days=300)),  # the certificate is due
        renew(None, names, now - timedelta(days=3000)),  # so is its authority
        Material(b"", b"", b"", b""),
    ):
        store(installed, old)
        made = wait_renewed(installed, made, old)
        for each in (one, two):
            wait_shown(each, made.certificate)
        wait_until(lambda: not refusal(installed, "IPAddressPool", "a", addresses=["192.0.2.0/24"]),
                   LONG_S, what="it to be believed", every_ms=50)  # fmt: skip
        assert refusal(installed, "IPAddressPool", "a", addresses=["192.0.2.9-192.0.2.1"])
    configured = installed.api.get("validatingwebhookconfigurations", CONFIGURATION)["webhooks"]
    told = {base64.b64decode(each["clientConfig"]["caBundle"]) for each in configured}
    assert told == {made.authorities}
    configure(installed)  # applying the manifest again takes nothing away
    assert not refusal(installed, "IPAddressPool", "a", addresses=["192.0.2.0/24"])
    for each in (one, two):
        assert "PRIVATE" not in each.process.output
        assert base64.b64encode(made.key).decode()[:40] not in each.process.output


def shown(replica: Replica) -> bytes:
    """The certificate that it shows whoever connects; none, if it is not there yet."""
    try:
        with closing(connect(replica)) as connection:
            found = connection.getpeercert(binary_form=True)
    except OSError:
        return b""
    return ssl.DER_cert_to_PEM_cert(found or b"").encode()


def connect(replica: Replica) -> ssl.SSLSocket:
    trusting = ssl._create_unverified_context()
    return trusting.wrap_socket(dial(replica))


def dial(replica: Replica) -> socket.socket:
    """A connection, before any handshake."""
    return replica.control.host.call(socket.create_connection, (ADDRESS, replica.webhook_port), LONG_S)


def post(connection: ssl.SSLSocket, head: str, body: bytes) -> bytes:
    """What is answered first to this."""
    connection.sendall(f"{head}\r\n\r\n".encode() + body)
    return connection.recv(4096).partition(b"\r\n")[0]


def test_who_asks_is_not_trusted(installed: ControlPlane, replicas: list[Replica]) -> None:
    replica = replicas[0].start()
    make_pool(installed, "a", "192.0.2.0/24")
    replica.wait_lead().process.wait_for_line("webhook serves", LONG_S)
    json = "Content-Type: application/json"
    asked = f"POST {PATH} HTTP/1.1\r\nHost: x"
    for head, body, said in (
        (f"POST /other HTTP/1.1\r\nHost: x\r\n{json}\r\nContent-Length: 2", b"{}", b"404"),
        (f"GET {PATH} HTTP/1.1\r\nHost: x", b"", b"405"),
        (f"{asked}\r\nContent-Type: text/plain\r\nContent-Length: 2", b"{}", b"415"),
        (f"{asked}\r\n{json}\r\nContent-Length: 2", b"{}", b"400"),
        (f"{asked}\r\n{json}\r\nContent-Length: 4", b"\xff\xfe\x00{", b"400"),
        (f"{asked}\r\n{json}\r\nContent-Length: 100000", b"[" * 100_000, b"400"),
        (f"{asked}\r\n{json}\r\nContent-Length: -1", b"{}", b"400"),
        ("nonsense", b"", b"400"),
        (f"{asked}\r\n{json}\r\nContent-Length: 10", b"{", b"408"),  # and then nothing
    ):
        with closing(connect(replica)) as connection:
            assert said in post(connection, head, body), head
    with closing(connect(replica)) as connection:
        connection.sendall(f"{asked}\r\n{json}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        answered = b""
        try:
            while not answered:
                connection.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
                connection.settimeout(0.01)
                try:
                    answered = connection.recv(4096)
                except TimeoutError:
                    connection.settimeout(LONG_S)
        except OSError:
            answered = answered or b"cut off"
    assert b"413" in answered or answered == b"cut off"
    crowd = [dial(replica) for _ in range(80)]
    away = "arpfast_webhook_turned_away_total"
    wait_until(lambda: (replica.number(away) or 0) > 0, LONG_S, what="some to be turned away")
    for each in crowd:
        each.close()
    replica.wait_lead()
    wait_until(lambda: b"400" in asked_again(replica, f"{asked}\r\n{json}\r\nContent-Length: 2"), LONG_S,
               what="it to answer again", every_ms=50)  # fmt: skip


def asked_again(replica: Replica, head: str) -> bytes:
    try:
        with closing(connect(replica)) as connection:
            return post(connection, head, b"{}")
    except OSError:
        return b""


def test_a_port_that_is_taken_holds_up_no_address(installed: ControlPlane, replicas: list[Replica]) -> None:
    replica = replicas[0]
    make_pool(installed, "a", "192.0.2.0/24")
    with closing(installed.host.call(socket.create_server, ("", replica.webhook_port))):
        replica.start().wait_ready().wait_lead()
        make_service(installed, "web")
        wait_addresses(installed, web=("192.0.2.0",))
        replica.process.wait_for_line("webhook not served", LONG_S)
    wait_until(lambda: shown(replica), LONG_S, what="it to be served", every_ms=50)
