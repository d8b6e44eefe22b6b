"""The custom resources, MetalLB's own by name and meaning; `python -m deploy.custom_resources` writes `deploy/crds`.

Written once and compactly here, since half of each is label selectors; the files are what is applied. All that one
object can tell by itself is refused by the API server, by these schemas and their rules; what needs several is not.

BGPPeer has two versions, of which the old one lacks fields and is otherwise the same: the API server converts between
them by leaving out what the other does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deploy.schema import (
    ATOMIC,
    LABEL,
    NAME,
    TEXT,
    UINT32,
    Schema,
    address,
    column,
    distinct,
    fields,
    flag,
    number,
    resource,
    rules,
    seconds,
    selector,
    selectors,
    several,
    text,
    version,
)  # fmt: skip

FOLDER = Path(__file__).parent / "crds"

_POOLS = distinct("The names of IPAddressPools.", text())
_POOL_SELECTORS = selectors("Selects IPAddressPools, beside those that are named. Neither: all pools.")
_NODE_SELECTORS = selectors("Selects the nodes that it is about. None: all nodes.")
_SERVICE_SELECTORS = selectors("Selects the Services that it is about. None: all Services.")
_POOL_COLUMNS = [
    column("IPAddressPools", ".spec.ipAddressPools", description="The pools that it is about"),
    column("IPAddressPool Selectors", ".spec.ipAddressPoolSelectors", description="What selects more of them"),
]
_NODE_COLUMN = column("Node Selectors", ".spec.nodeSelectors", description="What selects nodes", wide=True)

# One entry of a pool: a prefix, or both ends of a range. Which end is less, CEL cannot tell.
_ENDS = "self.split('-')[0].trim()", "self.split('-')[1].trim()"
_RANGE = f"isIP({_ENDS[0]}) && isIP({_ENDS[1]}) && ip({_ENDS[0]}).family() == ip({_ENDS[1]}).family()"
_ENTRY = (
    f"self.contains('/') ? isCIDR(self) : self.matches('^[^-]+-[^-]+$') && {_RANGE}",
    "expected a prefix (192.0.2.0/24) or a range of one family (192.0.2.10-192.0.2.20)",
)


def _numbers(first: int, last: int, most: int) -> str:
    """That the parts of a literal from the first to the last are not too great."""
    return " && ".join(f"int(self.split(':')[{part}]) <= {most}" for part in range(first, last + 1))


# a:b of 16 bits each, or large:a:b:c of 32 bits each (RFC 1997, RFC 8092).
_LITERAL = (
    f"self.matches('^[0-9]{{1,5}}:[0-9]{{1,5}}$') ? {_numbers(0, 1, 65535)}"
    f" : self.matches('^large(:[0-9]{{1,10}}){{3}}$') && {_numbers(1, 3, UINT32)}"
)
_COMMUNITY_SAYS = "expected two numbers of 16 bits (65535:65281) or three of 32 bits (large:64496:1:2)"

POOL = resource("IPAddressPool", "ipaddresspools", version(
    "v1beta1", "Addresses that Services of type LoadBalancer may be given.",
    [
        column("Auto Assign", ".spec.autoAssign", "boolean"),
        column("Avoid Buggy IPs", ".spec.avoidBuggyIPs", "boolean"),
        column("Addresses", ".spec.addresses"),
    ],
    required=True,
    spec=fields("What there is, and for whom.", {
        "addresses": several(
            "Prefixes and ranges, both families in any order. The first that has a free address gives it.",
            text("", _ENTRY, maxLength=TEXT), minItems=1, maxItems=1000,
        ),
        "autoAssign": flag("Whether a Service gets an address of it without asking for this pool.", default=True),
        "avoidBuggyIPs": flag("Whether IPv4 addresses that end in .0 and .255 are left out.", default=False),
        "serviceAllocation": fields(
            "Reserves the pool for some Services, and has them prefer it. Where both are given, both have to hold.", {
                "priority": number("The least first among pools that a Service prefers; 0 is last.", most=2**31 - 1),
                "namespaces": distinct("The namespaces that may use it.", text()),
                "namespaceSelectors": selectors("Selects more such namespaces."),
                "serviceSelectors": selectors("Selects the Services that may use it."),
            },
        ),
    }, required=("addresses",)),
    status=fields("What has been given of it.", {
        **{f"assigned{family}": number(f"How many {family} addresses Services have.") for family in ("IPv4", "IPv6")},
        **{f"available{family}": number(f"How many {family} addresses are free.") for family in ("IPv4", "IPv6")},
    }, required=("assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6")),
))  # fmt: skip

L2_ADVERTISEMENT = resource("L2Advertisement", "l2advertisements", version(
    "v1beta1", "That addresses of pools are answered for on the link, by ARP and neighbour discovery.",
    [*_POOL_COLUMNS, column("Interfaces", ".spec.interfaces", description="Where they are answered"), _NODE_COLUMN],
    spec=fields("Which addresses, by which nodes, on which interfaces.", {
        "ipAddressPools": _POOLS,
        "ipAddressPoolSelectors": _POOL_SELECTORS,
        "nodeSelectors": _NODE_SELECTORS,
        "serviceSelectors": _SERVICE_SELECTORS,
        "interfaces": several("The names of the nodes' interfaces on which they are answered. None: all.", text()),
        "preferredNodeSelectors": several(
            "Nodes that come first among those that are selected: those with the greatest sum of weights.",
            fields("", {
                "weight": number("How much a node that is selected is preferred.", 1, 100),
                "preference": selector("Selects nodes."),
            }, required=("weight", "preference")),
        ),
    }),
))  # fmt: skip

_WHOLE = (
    (
        "!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || ((!has(self.aggregationLength)"
        " || self.aggregationLength == 32) && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))"
    ),
    "serviceSelectors need whole addresses: expected aggregationLength 32 and aggregationLengthV6 128",
)

BGP_ADVERTISEMENT = resource("BGPAdvertisement", "bgpadvertisements", version(
    "v1beta1", "That addresses of pools are announced as routes, by BGP.",
    [*_POOL_COLUMNS, column("Peers", ".spec.peers", description="To whom"), _NODE_COLUMN],
    spec=fields("Which addresses, to whom, with which attributes.", {
        "aggregationLength": number("The length of the IPv4 prefixes that are announced.", 1, 32, default=32),
        "aggregationLengthV6": number("The length of the IPv6 prefixes that are announced.", most=128, default=128),
        "localPref": number("LOCAL_PREF, towards peers of our own AS.", 0, UINT32),
        "communities": distinct(
            "Communities of the routes, as literals or by the names that Community objects give them.",
            text("", (f"!self.contains(':') || ({_LITERAL})", _COMMUNITY_SAYS), maxLength=NAME), maxItems=100,
        ),
        "ipAddressPools": _POOLS,
        "ipAddressPoolSelectors": _POOL_SELECTORS,
        "nodeSelectors": _NODE_SELECTORS,
        "serviceSelectors": _SERVICE_SELECTORS,
        "peers": distinct("The names of the BGPPeers that hear of it. None: all.", text()),
    }, **rules(_WHOLE)),
))  # fmt: skip


_ONE_AS = (
    "(has(self.peerASN) && self.peerASN != 0) != has(self.dynamicASN)", "expected either peerASN or dynamicASN",
)  # fmt: skip
_PEER_AS = ("self.peerASN != 0", "expected the AS of the peer")
_NO_HOPS = (
    "!has(self.ebgpMultiHop) || !self.ebgpMultiHop || !has(self.peerASN) || self.peerASN != self.myASN",
    "ebgpMultiHop is for peers of another AS",
)
_SOME_PEER = ("self.peerAddress != ''", "expected the address of the peer")
_ONE_PEER = (
    "(has(self.peerAddress) && self.peerAddress != '') != (has(self.interface) && self.interface != '')",
    "expected either peerAddress or interface",
)
_ONE_PASSWORD = (
    (
        "!(has(self.password) && self.password != '' && has(self.passwordSecret)"
        " && has(self.passwordSecret.name) && self.passwordSecret.name != '')"
    ),
    "expected either password or passwordSecret",
)
_KEEPALIVE = (
    "!has(self.holdTime) || !has(self.keepaliveTime) || duration(self.keepaliveTime) <= duration(self.holdTime)",
    "expected keepaliveTime to be at most holdTime",
)


def _peer(
    name: str, port: Schema, told: dict[str, Schema], required: tuple[str, ...], more: Schema, *rule: Any
) -> Schema:
    """One version of BGPPeer: what both have, and `told` besides."""
    columns = [
        column("Address", ".spec.peerAddress"), column("ASN", ".spec.peerASN"),
        column("BFD Profile", ".spec.bfdProfile"), column("Multi Hops", ".spec.ebgpMultiHop"),
    ]  # fmt: skip
    both = {
        "myASN": number("Our own AS number.", 1, UINT32),
        "peerASN": number("That of the peer.", 0, UINT32),
        "peerAddress": address("Where the peer is reached."),
        "sourceAddress": address("The address that we speak from."),
        "peerPort": port,
        "holdTime": seconds(
            "How long a silent peer is believed in (RFC 4271); 0s: for ever.",
            "duration(self) >= duration('0s') && (duration(self) < duration('1s') || duration(self) >= duration('3s'))",
            "expected 0s, or 3s or more",
        ),
        "keepaliveTime": seconds(
            "How often we speak at least.", "duration(self) >= duration('0s')", "expected a duration"
        ),
        "routerID": address("Our identifier."),
        "nodeSelectors": selectors("Selects the nodes that speak with the peer. None: all nodes.", strict=True),
        "password": text("Of TCP MD5 (RFC 2385), in the clear."),
        "bfdProfile": text("The name of the BFDProfile by which the peer's life is watched."),
        "ebgpMultiHop": flag("Whether the peer is more than one hop away."),
    }
    spec = fields("The session.", both | told, required=required, **rules(_NO_HOPS, _KEEPALIVE, *rule))
    return version(name, "A router that is spoken BGP with.", columns, spec=spec, required=True, **more)


BGP_PEER = resource("BGPPeer", "bgppeers", _peer(
    "v1beta1", number("The peer's TCP port.", 0, 16384), {}, ("myASN", "peerASN", "peerAddress"),
    {"storage": False, "deprecated": True, "deprecationWarning": "metallb.io/v1beta1 BGPPeer is old: use v1beta2"},
    _PEER_AS, _SOME_PEER,
), _peer(
    "v1beta2", number("The peer's TCP port.", 1, 16384, default=179), {
        "dynamicASN": text("Takes any AS of the peer: our own, or any but our own.", enum=["internal", "external"]),
        "localASN": number("Another AS number of ours, that this peer sees.", 1, UINT32),
        "interface": text("The interface on which the peer is found, in place of its address."),
        "connectTime": seconds(
            "How long to wait between attempts.",
            "duration(self) >= duration('1s') && duration(self) <= duration('65535s')"
            " && duration(self).getMilliseconds() % 1000 == 0",
            "expected whole seconds from 1s to 65535s",
        ),
        "passwordSecret": fields("A Secret of type kubernetes.io/basic-auth that has the password.", {
            "name": text("Its name."), "namespace": text("Its namespace."),
        }, **ATOMIC),
        "enableGracefulRestart": flag(
            "Whether routes outlive a restart of ours (RFC 4724).", **rules(("self == oldSelf", "cannot be changed")),
        ),
        "vrf": text("The VRF that the session belongs to."),
        "disableMP": flag("Has no effect any more.", default=False),
        "dualStackAddressFamily": flag("Whether one session carries routes of both families.", default=False),
    }, ("myASN",), {}, _ONE_AS, _ONE_PEER, _ONE_PASSWORD,
))  # fmt: skip
BGP_PEER["spec"]["conversion"] = {"strategy": "None"}

BFD_PROFILE = resource("BFDProfile", "bfdprofiles", version(
    "v1beta1", "How quickly BFD (RFC 5880) is to notice that a peer is gone.",
    [
        column("Passive Mode", ".spec.passiveMode", "boolean"),
        column("Transmit Interval", ".spec.transmitInterval", "integer"),
        column("Receive Interval", ".spec.receiveInterval", "integer"),
        column("Multiplier", ".spec.detectMultiplier", "integer"),
    ],
    spec=fields("Intervals are milliseconds.", {
        "receiveInterval": number("The shortest interval in which we can receive.", 10, 60000),
        "transmitInterval": number("The shortest interval in which we wish to send.", 10, 60000),
        "detectMultiplier": number("After how many missed packets the peer is gone.", 2, 255),
        "echoInterval": number("The shortest interval of echo packets.", 10, 60000),
        "echoMode": flag("Whether echo packets are sent. Not for IPv6."),
        "passiveMode": flag("Whether to wait until the peer begins."),
        "minimumTtl": number("The least TTL of packets from a peer several hops away.", 1, 254),
    }),
))  # fmt: skip

COMMUNITY = resource("Community", "communities", version(
    "v1beta1", "Names for BGP communities, to be used in BGPAdvertisements.", [],
    spec=fields("The names.", {
        "communities": several("Each name once.", fields("", {
            "name": text("What it is called."),
            "value": text("What it is.", (_LITERAL, _COMMUNITY_SAYS), maxLength=LABEL),
        }, required=("name", "value")), maxItems=1000, **{
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        }),
    }),
))  # fmt: skip


def _served(kind: str, plural: str, description: str, told: dict[str, Schema], node: str) -> Schema:
    """What a node says of a Service: who and which never change."""
    once = ("self == oldSelf", "cannot be changed")
    named = {
        "node": text("The node that says so.", once), "serviceName": text("The Service.", once),
        "serviceNamespace": text("Its namespace.", once),
    }  # fmt: skip
    columns = [
        column(node, ".status.node"), column("Service Name", ".status.serviceName"),
        column("Service Namespace", ".status.serviceNamespace"),
    ]  # fmt: skip
    status = fields("What is so.", named | told)
    return resource(kind, plural, version(
        "v1beta1", description, columns, spec=fields("Nothing is wished.", {}), status=status,
    ))  # fmt: skip


_INTERFACE = fields("", {"name": text("What it is called.")})
L2_STATUS = _served("ServiceL2Status", "servicel2statuses", "That a node answers for a Service's addresses.", {
    "interfaces": several("Where it answers. None: on all interfaces.", _INTERFACE),
}, "Allocated Node")  # fmt: skip

BGP_STATUS = _served("ServiceBGPStatus", "servicebgpstatuses", "That a node announces a Service's addresses by BGP.", {
    "peers": several("The names of the peers that it announces them to.", text()),
}, "Node")  # fmt: skip

_CONDITION = fields("", {
    "type": text("What it is about.", maxLength=316),
    "status": text("Whether it is so.", enum=["True", "False", "Unknown"]),
    "reason": text("Why, in one word.", minLength=1, maxLength=1024),
    "message": text("Why, in a sentence.", maxLength=32768),
    "lastTransitionTime": text("Since when.", format="date-time"),
    "observedGeneration": number("The generation of the object that it is about.", 0),
}, required=("type", "status", "reason", "message", "lastTransitionTime"))  # fmt: skip

CONFIGURATION_STATE = resource("ConfigurationState", "configurationstates", version(
    "v1beta1", "What the controller, or a node's speaker, thinks of the configuration.",
    [
        column("Result", ".status.result"), column("ErrorSummary", ".status.errorSummary"),
        column("Age", ".metadata.creationTimestamp", "date"),
    ],
    spec=None,
    status=fields("What is so.", {
        "result": text("Whether all of it is in force.", enum=["Valid", "Invalid", "Unknown"]),
        "errorSummary": text("What is wrong, a line each."),
        "conditions": several("What was said by whom.", _CONDITION, **{
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        }),
    }),
))  # fmt: skip

ALL = (
    POOL, L2_ADVERTISEMENT, BGP_ADVERTISEMENT, BGP_PEER, BFD_PROFILE, COMMUNITY, L2_STATUS, BGP_STATUS,
    CONFIGURATION_STATE,
)  # fmt: skip


def written(definition: Schema) -> str:
    """The YAML of one."""

    class Whole(yaml.SafeDumper):
        """What is used twice is written twice: no anchors."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (the signature is PyYAML's)
            return True

    return "# Made by deploy/custom_resources.py\n" + yaml.dump(definition, Dumper=Whole, sort_keys=False, width=120)


def main() -> None:
    """Write them all."""
    for definition in ALL:
        (FOLDER / f"{definition['spec']['names']['plural']}.yaml").write_text(written(definition))


if __name__ == "__main__":
    main()
