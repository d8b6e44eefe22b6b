"""What a Node says of itself that bars it from answering, or makes others come first. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cluster.resources import EXCLUDED
from speaker.reasons import Reason

if TYPE_CHECKING:
    from cluster.resources import Node

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


class Rules(msgspec.Struct, frozen=True):
    """What of a Node is heeded; as MetalLB does, unless told otherwise. The same on every speaker."""

    ignore_excluded: bool = False
    """Answer also on nodes with the label that excludes them from load balancers."""
    avoid_cordoned: bool = False
    """Let others come first while a node is unschedulable."""
    avoid_out_of_service: bool = False
    """Let others come first while a node has the out-of-service taint."""


class Standing(msgspec.Struct, frozen=True):
    """How a node stands for any Service."""

    barred: tuple[Reason, ...] = ()
    """Why it may answer for none."""
    avoided: tuple[Reason, ...] = ()
    """Why it comes after all others."""


ABLE = Standing()


def stand(node: Node, rules: Rules) -> Standing:
    """How a node stands. One that is not known as a Node is `ABLE`."""
    barred, avoided = list[Reason](), list[Reason]()
    if any(one.type == "NetworkUnavailable" and one.status == "True" for one in node.status.conditions):
        barred.append(Reason.NODE_NETWORK_UNAVAILABLE)
    if EXCLUDED in node.metadata.labels and not rules.ignore_excluded:
        barred.append(Reason.NODE_LABELED_EXCLUDE_BALANCERS)
    if rules.avoid_cordoned and node.spec.unschedulable:
        avoided.append(Reason.NODE_CORDONED)
    if rules.avoid_out_of_service and any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints):
        avoided.append(Reason.NODE_OUT_OF_SERVICE)
    return Standing(tuple(barred), tuple(avoided)) if barred or avoided else ABLE
