"""What a Service asks for, read from its fields and annotations.

What it asks for may make no sense. That is told by `fault`, not by an exception, since a Service keeps what it has
while what it asks for cannot be read.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

import msgspec

from cluster.resources import ADDRESS_POOL, ALLOW_SHARED_IP, LOAD_BALANCER_IPS
from controller.sharing import Port, Sharing

if TYPE_CHECKING:
    from arpfast.spans import Address, Version
    from cluster.resources import Key, Service

Families = tuple["Version", ...]
"""One or both, IPv4 first."""

_SHOWN_MAX = 100


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What one Service asks for."""

    key: Key
    labels: dict[str, str]
    families: Families
    """Of its cluster IPs; empty if they are not one of each family, or two."""
    choices: tuple[Families, ...]
    """What it can make do with, the best first."""
    pool: str = ""
    """The only one that it wants; empty: any."""
    addresses: tuple[Address, ...] = ()
    """The only ones that it wants; none: any."""
    fault: str = ""
    """What is wrong with the addresses that it wants."""
    sharing: Sharing | None = None
    ports: frozenset[Port] = frozenset()

    @property
    def prefers_dual_stack(self) -> bool:
        """Whether it takes one address where it cannot have two."""
        return len(self.choices) > 1

    @classmethod
    def of(cls, service: Service) -> Request:
        """Read it. Never raises."""
        spec = service.spec
        families = _distinct([6 if ":" in text else 4 for text in cluster_ips(service)])
        addresses, fault = _wanted(service, families)
        key = service.annotation(ALLOW_SHARED_IP)
        return cls(
            key=service.key,
            labels=service.metadata.labels,
            families=families,
            choices=_choices(service, families),
            pool=service.annotation(ADDRESS_POOL) or "",
            addresses=addresses,
            fault=fault,
            sharing=Sharing(key, _backend(service)) if key else None,
            ports=frozenset((port.protocol, port.port) for port in spec.ports),
        )


def cluster_ips(service: Service) -> tuple[str, ...]:
    """The addresses that it has inside the cluster; none where it is headless."""
    spec = service.spec
    return tuple(text for text in spec.cluster_ips or (spec.cluster_ip,) if text and text != "None")


def read(texts: tuple[str, ...]) -> tuple[Address, ...]:
    """Those that are addresses."""
    return tuple(address for text in texts if (address := _address(text)) is not None)


def families_of(addresses: tuple[Address, ...]) -> Families:
    """Which families they are of; none if there are two of one, or more than two, or none at all."""
    return _distinct([address.version for address in addresses])


def _distinct(versions: list[Version]) -> Families:
    return tuple(sorted(versions)) if len(set(versions)) == len(versions) else ()


def _choices(service: Service, families: Families) -> tuple[Families, ...]:
    if len(families) < 2 or service.spec.ip_family_policy != "PreferDualStack":
        return (families,) if families else ()
    return (families, (6,), (4,)) if service.spec.ip_families[:1] == ("IPv6",) else (families, (4,), (6,))


def _wanted(service: Service, families: Families) -> tuple[tuple[Address, ...], str]:
    """The addresses that are asked for, and what is wrong with them."""
    listed, field = service.annotation(LOAD_BALANCER_IPS) or "", service.spec.load_balancer_ip
    if not listed and not field:
        return (), ""
    if listed and field:
        return (), f"expected annotation {LOAD_BALANCER_IPS} or field spec.loadBalancerIP, not both"
    where = LOAD_BALANCER_IPS if listed else "spec.loadBalancerIP"
    texts = [text.strip() for text in (listed or field).split(",", 2)]
    addresses = read(tuple(texts))
    if len(texts) > (2 if listed else 1):
        return (
            (),
            f"{where}: expected {'at most two addresses' if listed else 'one address'}, not {shown(listed or field)}",
        )
    if len(addresses) < len(texts):
        wrong = next(text for text in texts if _address(text) is None)
        return (), f"{where}: expected an address, not {shown(wrong)}"
    asked = families_of(addresses)
    if not asked:
        return (), f"{where}: expected addresses of different families, not {shown(listed)}"
    if asked != families:
        return (), f"{where}: expected {named(families)} as the cluster IPs are, not {named(asked)}"
    return addresses, ""


def named(families: Families) -> str:
    """Them, for people."""
    return " and ".join(f"IPv{version}" for version in families) or "no family"


def _address(text: str) -> Address | None:
    """Read as Go does: no zone, and IPv4 written as IPv6 is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id else address.ipv4_mapped or address


def _backend(service: Service) -> str:
    if service.spec.external_traffic_policy != "Local":
        return ""
    return ",".join(f"{name}={value}" for name, value in sorted(service.spec.selector.items()))


def shown(text: str) -> str:
    """Text of unknown length and content, for people."""
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")
