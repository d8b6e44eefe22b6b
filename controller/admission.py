"""What a change of the configuration would break, told before it is made. Pure: bytes of a review in, bytes out.

The API server asks about each change of MetalLB's custom resources (admission.k8s.io/v1) after it has checked the
object by itself. Here all objects are checked as they would be, by what controller and speakers check them by later
(`cluster.parse`). A change is refused for what is wrong with the object itself, all of it at once, and for what it
makes wrong with others. A fault that was there before, of another object, is no reason; nor is one of the object
itself, if neither its spec nor its labels change: whoever only removes a finalizer need not repair anything.

What may be right once another object has come is let pass, with a warning, as objects may come in any order; so is what
is passed over until then. It is refused to take away what another object refers to: a BFDProfile of a peer, an alias of
an advertisement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cluster import kinds
from cluster.gathering import FIELDS
from cluster.parse import check
from cluster.problems import shown
from cluster.resources import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.custom import Objects
    from cluster.kinds import Kind
    from cluster.problems import Problem
    from cluster.resources import Key, Object

PATHS: dict[str, Kind[Any]] = {f"/validate-metallb-io-{kind.version}-{kind.name.lower()}": kind for kind in FIELDS}
"""Where the API server asks about which kind: MetalLB's paths."""
TOLD_AT_MOST = 20
UNSEEN = "spec.passwordSecret"
"""Secrets are not read for this, so nothing can be said of those that are referred to."""


NULL = msgspec.Raw(b"null")


class Request(Struct, frozen=True):
    """What is to be done: of `admission.k8s.io/v1.AdmissionRequest` what is read."""

    uid: str
    operation: str
    namespace: str = ""
    object: msgspec.Raw = NULL
    old_object: msgspec.Raw = NULL


class Review(Struct, frozen=True):
    """`admission.k8s.io/v1.AdmissionReview`, as it is asked."""

    request: Request


class Verdict(NamedTuple):
    """What becomes of a change."""

    problems: tuple[str, ...] = ()
    """Why it is refused; none: it is allowed."""
    warnings: tuple[str, ...] = ()


ALLOWED = Verdict()
_REVIEW = msgspec.json.Decoder(Review)


def read(body: bytes) -> Request:
    """What the API server asks. ValueError for what is no review."""
    try:
        return _REVIEW.decode(body).request
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"expected an AdmissionReview of admission.k8s.io/v1: {error}") from None


def answer(uid: str, verdict: Verdict) -> bytes:
    """The review as it is answered."""
    said: dict[str, Any] = {"uid": uid, "allowed": not verdict.problems}
    if verdict.problems:
        said["status"] = {"code": 422, "reason": "Invalid", "message": _listed(verdict.problems)}
    if verdict.warnings:
        said["warnings"] = verdict.warnings[:TOLD_AT_MOST]
    return msgspec.json.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": said})


def judge(
    request: Request, kind: Kind[Any], namespace: str, objects: Objects, nodes: Mapping[str, Mapping[str, str]]
) -> Verdict:
    """Whether the configuration, which is in `namespace` and consists of `objects` now, may change so. `nodes`: the
    labels of each.
    """
    try:
        old = msgspec.json.decode(request.old_object, type=kind.struct | None)
        new = msgspec.json.decode(request.object, type=kind.struct | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Verdict((f"{kind.name}: {error}",))
    if request.namespace != namespace:
        elsewhere = f"expected namespace {namespace}, where alone it is read, not {request.namespace}"
        return Verdict((f"{kind.name}: {elsewhere}",)) if request.operation == "CREATE" else ALLOWED
    one = new or old
    if one is None or (old is not None and new is not None and _same(old, new)):
        return ALLOWED
    key = one.key
    known = frozenset(check(_with(objects, kind, key, old), nodes))
    problems, warnings = [], []
    for problem in check(_with(objects, kind, key, new), nodes):
        if (problem.kind, problem.key) != (kind.name, key):
            if problem not in known:
                problems.append(problem)
        elif not problem.transient:
            problems.append(problem)
        elif problem.field != UNSEEN:
            warnings.append(problem)
    missing = [] if new is None else _missing(new, kind, objects)
    return Verdict(_told(problems, key), (*_told(warnings, key), *missing))


def _missing(new: Any, kind: Kind[Any], objects: Objects) -> list[str]:
    """What an advertisement names that there is not yet: it is passed over until it comes."""
    named: list[tuple[str, tuple[str, ...], Kind[Any]]] = []
    if kind in (kinds.L2_ADVERTISEMENT, kinds.BGP_ADVERTISEMENT):
        named.append(("spec.ipAddressPools", new.spec.ip_address_pools, kinds.ADDRESS_POOL))
    if kind is kinds.BGP_ADVERTISEMENT:
        named.append(("spec.peers", new.spec.peers, kinds.BGP_PEER))
    missing = []
    for field, names, of in named:
        there = {each.metadata.name for each in getattr(objects, FIELDS[of])}
        missing += [
            f"{kind.name} {new.key}: {field}: there is no {of.name} {shown(name)} yet"
            for name in names
            if name not in there
        ]
    return missing


def _same(old: Any, new: Any) -> bool:
    return bool(old.spec == new.spec and old.metadata.labels == new.metadata.labels)


def _with(objects: Objects, kind: Kind[Any], key: Key, one: Object | None) -> Objects:
    """All objects, with this one in the place of the one of its name."""
    field = FIELDS[kind]
    others = tuple(each for each in getattr(objects, field) if each.key != key)
    return msgspec.structs.replace(objects, **{field: (*others, *([] if one is None else [one]))})


def _told(problems: Iterable[Problem], key: Key) -> tuple[str, ...]:
    """Those of the object itself first."""
    return tuple(str(problem) for problem in sorted(problems, key=lambda problem: problem.key != key))


def _listed(problems: tuple[str, ...]) -> str:
    more = [f"and {len(problems) - TOLD_AT_MOST} more"] if len(problems) > TOLD_AT_MOST else []
    return "\n".join([*problems[:TOLD_AT_MOST], *more])
