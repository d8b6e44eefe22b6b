"""Where this controller is, and how it is to give addresses: flags, each also by the environment. Parsed once.

What to give is in MetalLB's custom resources. Flags and variables that MetalLB's controller has, too, bear its names,
so that a manifest need not be written anew; the variable of ours comes first.
"""

from __future__ import annotations

import socket
from typing import Any

import click
import msgspec

from arpfast.config import Format, Level
from arpfast.options import words
from cluster.flags import NAMESPACE, option, own_namespace


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    namespace: str = NAMESPACE
    pod: str = ""
    """What this Pod is called, which owns what it writes; empty: we are in none."""
    identity: str
    """What this replica is called among others."""
    deployment: str = ""
    """Which owns the Secret of the ring's key; empty: nobody."""
    secret: str = ""
    """Made with a key for the ring, if it is absent; empty: none."""
    lb_class: str = ""
    cool_down_s: float = 0.0
    balance_pools: bool = False
    probe_ahead: int = 0
    """How many addresses of each pool and family are probed before they are given; 0: none."""
    port: int = 9120
    health_port: int = 17472
    webhook_port: int = 9443
    """0: changes of the configuration are not judged."""
    webhook_secret: str = "metallb-webhook-cert"  # noqa: S105 (what it is called)
    webhook_service: str = "metallb-webhook-service"
    kubeconfig: str | None = None
    """How to reach the API server; None: as a Pod does."""
    log_level: Level = "info"
    log_format: Format = "auto"


OPTIONS = (
    option("--namespace", metallb="NAMESPACE", default="",
           help="Where the custom resources are.  [default: the Pod's own]"),
    option("--pod-name", metallb="POD_NAME", default="", help="What Kubernetes calls this Pod."),
    option("--deployment", metallb="DEPLOYMENT", default="",
           help="Which Deployment owns the Secret with the ring's key."),
    option("--ml-secret-name", env="SECRET_NAME", metallb="ML_SECRET_NAME", default="",
           help="Secret with the ring's key, made if it is absent. Without a name none is made."),
    option("--lb-class", default="",
           help="Give addresses to Services of this loadBalancerClass instead of those of none."),
    option("--cool-down", "cool_down_s", env="COOL_DOWN", metavar="SECONDS", type=click.FloatRange(0), default=0.0,
           help="How long an address that was given back rests before another Service gets it, if there are others."),
    option("--balance-pools", is_flag=True,
           help="Of several pools that will do alike, take from the emptiest, not from the first by name."),
    option("--probe-ahead", metavar="COUNT", type=click.IntRange(0, 1024), default=0,
           help="Have the speakers probe the next addresses of each pool, and give none that another host has."),
    option("--port", metavar="PORT", type=click.IntRange(0, 65535), default=9120, help="Of the metrics; 0: none."),
    option("--health-probe-port", metavar="PORT", type=click.IntRange(0, 65535), default=17472,
           help="Of /healthz and /readyz; 0: none."),
    option("--webhook-mode", type=click.Choice(["enabled", "disabled"]), default="enabled",
           help="Whether changes of the configuration are judged before they are made."),
    option("--webhook-port", metavar="PORT", type=click.IntRange(1, 65535), default=9443,
           help="Where the API server asks for that."),
    option("--webhook-secret", default="metallb-webhook-cert", help="Secret with the webhook's certificates."),
    option("--cert-service-name", default="metallb-webhook-service",
           help="Service by which the API server reaches the webhook."),
    option("--kubeconfig", metavar="FILE", default=None,
           help="How to reach the API server.  [default: as a Pod does]"),
    option("--log-level", type=words(Level), default="info", help="Least level that is logged."),
    option("--log-format", type=words(Format), default="auto", help="Log for people or as JSON."),
)  # fmt: skip


def settings(
    *,
    namespace: str,
    pod_name: str,
    ml_secret_name: str,
    health_probe_port: int,
    webhook_mode: str,
    webhook_port: int,
    cert_service_name: str,
    **same: Any,
) -> Settings:
    """What the options say."""
    return msgspec.convert(
        {
            **same,
            "namespace": namespace or own_namespace(),
            "pod": pod_name,
            "identity": pod_name or socket.gethostname(),
            "secret": ml_secret_name,
            "health_port": health_probe_port,
            "webhook_port": webhook_port if webhook_mode == "enabled" else 0,
            "webhook_service": cert_service_name,
        },
        Settings,
    )
