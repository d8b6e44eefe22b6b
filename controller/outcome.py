"""What is decided of one Service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from cluster.resources import ADDRESS_POOL, ALLOCATED_FROM, ALLOW_SHARED_IP, LOAD_BALANCER_IPS, OLD_PREFIX

if TYPE_CHECKING:
    from arpfast.spans import Address
    from cluster.resources import Service

Reason = Literal[
    "AdditionalAssignFailed", "AllocationFailed", "ClearAssignment", "IPAllocated", "LoadBalancerFailed",
    "StatusOverwritten", "deprecatedAnnotation", "noclusterIPsIPFamily", "nolbIPsIPFamily", "not enough clusterips",
]  # fmt: skip
"""MetalLB's own, so that what watches for them goes on working, and `StatusOverwritten`."""

ONCE: frozenset[Reason] = frozenset({"ClearAssignment", "IPAllocated", "deprecatedAnnotation", "nolbIPsIPFamily"})
"""Of what happens; the others tell what is so, for as long as it is."""


class Assignment(msgspec.Struct, frozen=True):
    """The addresses that a Service has."""

    pool: str
    addresses: tuple[Address, ...]

    def __str__(self) -> str:
        return f"{' and '.join(map(str, self.addresses))} of pool {self.pool}"


class Note(msgspec.Struct, frozen=True):
    """An Event on the Service, for its owner."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


class Outcome(msgspec.Struct, frozen=True):
    """What is to be so of a Service, and what there is to say about it."""

    assignment: Assignment | None
    """None: it is to have no address."""
    notes: tuple[Note, ...] = ()
    """Only what has not been said already."""
    error: str = ""
    """Why it does not have what it asks for."""


def is_written(service: Service, assignment: Assignment | None) -> bool:
    """Whether the Service says already that this is what it has."""
    ingress = tuple(one.ip for one in service.status.load_balancer.ingress)
    pool = service.metadata.annotations.get(ALLOCATED_FROM)
    if assignment is None:
        return not ingress and pool is None
    return ingress == tuple(map(str, assignment.addresses)) and pool == assignment.pool


def deprecated_annotations(service: Service) -> list[str]:
    """Annotations by their old names that the Service is still read by."""
    annotations = service.metadata.annotations
    return [old for old, name in _DEPRECATED.items() if old in annotations and name not in annotations]


_DEPRECATED = {OLD_PREFIX + name.partition("/")[2]: name for name in (ADDRESS_POOL, LOAD_BALANCER_IPS, ALLOW_SHARED_IP)}
