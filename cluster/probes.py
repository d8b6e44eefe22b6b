"""What controller and speakers tell each other of addresses that nobody has been given yet: annotations. Pure.

    ConfigurationState `controller`:      metallb.io/candidates, the addresses that come next
    ConfigurationState `speaker-<node>`:  metallb.io/probed, what this node has found out about some of them

Both objects are there anyway, both sides may read and write them, and each goes with the Pod that wrote it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from arpfast.spans import Span, Spans, address_of
from cluster.resources import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arpfast.spans import Version
    from cluster.resources import Object

    Found = Mapping[tuple[Version, int], str]
    """Addresses that other hosts have, and the hardware address of each."""

CANDIDATES, PROBED = "metallb.io/candidates", "metallb.io/probed"
AT_MOST = 2048
"""Addresses: so many, alone and of IPv6, fit well into the annotations of an object."""


class Probed(Struct, frozen=True):
    """What one speaker has found out."""

    at_s: int = 0
    """When it said so, Unix time."""
    free: tuple[str, ...] = ()
    """Addresses and ranges that nobody answered for."""
    used: dict[str, str] = msgspec.field(default_factory=dict)
    """Addresses that another host has, each with its hardware address."""


def candidates(found: Object) -> Spans:
    """What the controller asks about; what is no list of addresses is none."""
    return read(found.metadata.annotations.get(CANDIDATES, "").split())


class Said(NamedTuple):
    """The same as it is used."""

    free: Spans
    used: Found
    at_s: int = 0


def probed(found: Object) -> Said:
    """What a speaker says."""
    try:
        said = msgspec.json.decode(found.metadata.annotations.get(PROBED, "{}"), type=Probed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Said(Spans(), {})
    used = {}
    for text, mac in said.used.items():
        for span in read([text]):
            used[span.version, span.first] = mac[:17]
    return Said(read(said.free), used, said.at_s)


def read(texts: Iterable[str]) -> Spans:
    """These addresses and ranges, as far as they are some."""
    spans = []
    for text in texts:
        try:
            span = Span.parse(text)
        except ValueError:
            continue
        if span.size <= AT_MOST:
            spans.append(span)
    return Spans(spans)


def candidates_patch(spans: Spans) -> bytes:
    """The merge-patch by which the controller asks; of nothing, by which it asks no more."""
    return _patch(CANDIDATES, " ".join(map(str, spans)) or None)


def probed_patch(said: Said) -> bytes:
    """The merge-patch by which a speaker answers."""
    used = {str(address_of(*key)): mac for key, mac in sorted(said.used.items())}
    return _patch(PROBED, msgspec.json.encode(Probed(said.at_s, tuple(map(str, said.free)), used)).decode())


def _patch(name: str, value: str | None) -> bytes:
    return msgspec.json.encode({"metadata": {"annotations": {name: value}}})
