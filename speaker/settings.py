"""Where this speaker is, and how it is to take part: flags, each also by the environment. Parsed once.

What to do is in MetalLB's custom resources. Flags and variables that MetalLB's speaker has, too, bear its names, so
that a manifest need not be written anew; the variable of ours comes first.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec
import yaml

from arpfast.config import CONTROL_PATH, Announce, Backend, Format, Level
from arpfast.interfaces import Choice
from arpfast.listen import Listen
from arpfast.options import words
from arpfast.ring.settings import PORT, Profile, RingSettings
from cluster.flags import NAMESPACE, option, own_namespace
from speaker.nodes import Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

EXCLUDE_FILE = "/etc/metallb/excludel2.yaml"
EXCLUDED = "announcedInterfacesToExclude"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    node: str
    """What this node is called: the member's name, too."""
    address: str
    """This node's own, by which the ring reaches it."""
    namespace: str = NAMESPACE
    pod: str = ""
    """What this Pod is called, which owns what it writes; empty: none."""
    port: int = PORT
    labels: str = ""
    """Those of the Pods that are members; empty: each Node has one."""
    secrets: str = ""
    """The directory with the ring's key; empty: none."""
    profile: Profile = "default"
    with_metallb: bool = False
    """MetalLB's speakers may be members, whose timers are slower."""
    rules: Rules = Rules()
    lb_class: str = ""
    gobgp: str = ""
    """The socket of GoBGP's daemon; empty: there is none."""
    announce: Announce = Announce(probe="off")
    backend: Backend = "auto"
    choice: Choice = Choice()
    metrics: Listen | None = None
    health: Listen | None = None
    control: str = CONTROL_PATH
    kubeconfig: str | None = None
    """How to reach the API server; None: as a Pod does."""
    log_level: Level = "info"
    log_format: Format = "auto"

    def ring(self, others: Sequence[str]) -> RingSettings:
        """The ring with these other members. The election is always MetalLB's: `speaker.decide` has the order."""
        return RingSettings(members=(self.address, *others), port=self.port, profile=self.profile, election="metallb")


def excluded(path: str) -> tuple[str, ...]:
    """The regular expressions of MetalLB's file of interfaces that are not used; a missing file has none.

    Raises ValueError for a file that says something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        found = yaml.safe_load(text) or {}
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    patterns = (found.get(EXCLUDED) or []) if isinstance(found, dict) else None
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        raise ValueError(f"{path}: expected a list of regular expressions as {EXCLUDED}")
    for each in patterns:
        try:
            re.compile(each)
        except re.error as error:
            raise ValueError(f"{path}: expected a regular expression, not {each!r}: {error}") from None
    return tuple(patterns)


_LEVELS: dict[str, Level] = {"all": "debug", "warn": "warning"}
"""MetalLB's words."""

OPTIONS = (
    option("--node-name", metallb="NODE_NAME", required=True, help="What Kubernetes calls this node."),
    option("--ml-bindaddr", env="BIND_ADDRESS", metallb="ML_BIND_ADDR", required=True,
           help="This node's own address, by which the other speakers reach it."),
    option("--ml-bindport", env="BIND_PORT", metallb="ML_BIND_PORT", type=click.IntRange(1, 65535), default=PORT,
           help="UDP and TCP port of the gossip, on every node."),
    option("--ml-labels", env="LABELS", metallb="ML_LABELS", default="",
           help="Labels of the speakers' Pods. Without any, each Node is taken to have one."),
    option("--ml-secret-key-path", env="SECRET_KEY_PATH", metallb="ML_SECRET_KEY_PATH", default="",
           help="Directory with the ring's key in a file 'secretkey'. Without it the gossip is not encrypted."),
    option("--namespace", metallb="NAMESPACE", default="",
           help="Where the custom resources are.  [default: the Pod's own]"),
    option("--pod-name", metallb="POD_NAME", default="", help="What Kubernetes calls this Pod."),
    option("--profile", type=words(Profile), default="default",
           help="How soon a silent owner is succeeded, see docs/ring.md."),
    option("--with-metallb", is_flag=True, help="MetalLB's speakers may be members: gossip by their timers."),
    option("--lb-class", default="", help="Answer for Services of this loadBalancerClass instead of those of none."),
    option("--gobgp", metavar="PATH", default="",
           help="Socket of GoBGP's daemon. Without it nothing is announced by BGP."),
    option("--ignore-exclude-lb", is_flag=True,
           help="Answer also on nodes that are labelled to be excluded from load balancers."),
    option("--avoid-cordoned", is_flag=True, help="Hand over while a node is cordoned. The same on every node."),
    option("--avoid-out-of-service", is_flag=True,
           help="Hand over while a node has the out-of-service taint. The same on every node."),
    option("--backend", type=words(Backend), default="auto",
           help="Who answers: the kernel, or (raw) the speaker. The kernel takes CAP_BPF and CAP_NET_ADMIN."),
    option("--probe", type=click.Choice(["off", "quick", "rfc"]), default="off",
           help="Ask whether an address is taken before it is first answered for."),
    option("--exclude-interfaces", metavar="FILE", default=EXCLUDE_FILE,
           help="YAML file with regular expressions of interfaces not to use."),
    option("--port", metavar="PORT", type=click.IntRange(0, 65535), default=9120, help="Of the metrics; 0: none."),
    option("--health-probe-port", metavar="PORT", type=click.IntRange(0, 65535), default=17472,
           help="Of /healthz and /readyz on 127.0.0.1; 0: none."),
    option("--control", metavar="PATH", default=CONTROL_PATH, help="Control socket."),
    option("--kubeconfig", metavar="FILE", default=None,
           help="How to reach the API server.  [default: as a Pod does]"),
    option("--log-level", type=click.Choice([*get_args(Level), *_LEVELS]), default="info",
           help="Least level that is logged."),
    option("--log-format", type=words(Format), default="auto", help="Log for people or as JSON."),
)  # fmt: skip


def settings(
    *, node_name: str, ml_bindaddr: str, ml_bindport: int, ml_labels: str, ml_secret_key_path: str, namespace: str,
    pod_name: str, ignore_exclude_lb: bool, avoid_cordoned: bool, avoid_out_of_service: bool, probe: str,
    exclude_interfaces: str, port: int, health_probe_port: int, log_level: str, **same: Any,
) -> Settings:  # fmt: skip
    """What the options say. Raises click.UsageError."""
    try:
        ip_address(ml_bindaddr)
    except ValueError:
        raise click.UsageError(f"expected an address of this node as --ml-bindaddr, not {ml_bindaddr!r}") from None
    try:
        choice = Choice(unless=excluded(exclude_interfaces))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return msgspec.convert(
        {
            **same,
            "node": node_name,
            "address": ml_bindaddr,
            "namespace": namespace or own_namespace(),
            "pod": pod_name,
            "port": ml_bindport,
            "labels": ml_labels,
            "secrets": ml_secret_key_path,
            "rules": Rules(ignore_exclude_lb, avoid_cordoned, avoid_out_of_service),
            "announce": Announce(probe=probe),  # type: ignore[arg-type]
            "choice": choice,
            "log_level": _LEVELS.get(log_level, log_level),
            "metrics": Listen("", port) if port else None,
            "health": Listen("127.0.0.1", health_probe_port) if health_probe_port else None,
        },
        Settings,
    )
