"""The words in which `deploy/custom_resources.py` says what a custom resource is: OpenAPI v3, as a structural schema.

A rule is a CEL expression over `self` and the message of who breaks it.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
Rule = tuple[str, str]

UINT32 = 4_294_967_295
ATOMIC: Schema = {"x-kubernetes-map-type": "atomic"}
"""An object that is replaced as a whole."""
LABEL, NAME, TEXT = 63, 253, 128
"""The longest label, object name and address or range of addresses: CEL costs are reckoned by them."""


def rules(*told: Rule) -> Schema:
    """What has to hold, as fields of a schema."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in told]}


def text(description: str = "", *told: Rule, **more: Any) -> Schema:
    """A string."""
    return _made("string", description, more | (rules(*told) if told else {}))


def flag(description: str, **more: Any) -> Schema:
    """True or false."""
    return _made("boolean", description, more)


def number(description: str, least: int | None = None, most: int | None = None, **more: Any) -> Schema:
    """An integer; its format is as wide as it needs."""
    wide = "int64" if most is None or most > 2_147_483_647 else "int32"
    limits = {"minimum": least, "maximum": most}
    return _made("integer", description, {"format": wide} | {k: v for k, v in limits.items() if v is not None} | more)


def several(description: str, items: Schema, **more: Any) -> Schema:
    """A list."""
    return _made("array", description, {"items": items} | more)


def distinct(description: str, items: Schema, **more: Any) -> Schema:
    """A list of plain values in which nothing is twice: the API server sees to it. Not of objects: a server-side
    apply of a set of objects fails as a whole, so doubles among them are for who reads them to tell.
    """
    return several(description, items, **{"x-kubernetes-list-type": "set"} | more)


def fields(description: str, told: dict[str, Schema], *, required: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object. What is empty is not written: the API server drops it, and whoever applied it would see a change."""
    parts = {"required": list(required), "properties": told}
    return _made("object", description, more | {name: part for name, part in parts.items() if part})


def _made(kind: str, description: str, more: Schema) -> Schema:
    return ({"description": description} if description else {}) | {"type": kind} | more


# What several kinds have

_OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"]
_VALUES = (
    (
        "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0"
        " : !has(self.values) || self.values.size() == 0"
    ),
    "In and NotIn need values; Exists and DoesNotExist have none",
)


def selector(description: str = "", *, strict: bool = False) -> Schema:
    """A `metav1.LabelSelector`; a strict one has no value twice in one requirement."""
    values = distinct if strict else several
    requirement = fields(
        "",
        {
            "key": text("The label.", minLength=1),
            "operator": text("How the label relates to the values.", enum=_OPERATORS),
            "values": values("What the label is compared with.", text()),
        },
        required=("key", "operator"),
        **rules(_VALUES),
    )
    return fields(
        description,
        {
            "matchExpressions": several("Each has to hold.", requirement),
            "matchLabels": _made(
                "object", "Each label has to have this value.", {"additionalProperties": {"type": "string"}}
            ),
        },
        **ATOMIC,
    )


def selectors(description: str, *, strict: bool = False) -> Schema:
    """Several of them, of which one has to select."""
    return several(f"{description} One of them has to select.", selector(strict=strict))


def address(description: str) -> Schema:
    """An IP address; empty is as good as absent."""
    return text(description, ("self == '' || isIP(self)", "expected an IP address"), maxLength=TEXT)


def seconds(description: str, rule: str, message: str) -> Schema:
    """A duration as Go writes it: `90s`, `1m30s`."""
    return text(description, (rule, message), maxLength=LABEL)


# A resource


def column(name: str, path: str, kind: str = "string", description: str = "", *, wide: bool = False) -> Schema:
    """What `kubectl get` shows of it; a wide one with `-o wide` only."""
    more: Schema = {"priority": 10} if wide else {}
    return {"name": name, "type": kind, "jsonPath": path} | ({"description": description} if description else {}) | more


def version(
    name: str,
    description: str,
    columns: list[Schema],
    *,
    spec: Schema | None,
    status: Schema | None = None,
    required: bool = False,
    **more: Any,
) -> Schema:
    """One version of a kind; `more` says when it is deprecated or not stored."""
    parts = {"spec": spec} if spec else {}
    parts["status"] = status or fields("Nothing yet.", {})
    head: dict[str, Schema] = {"apiVersion": text(), "kind": text(), "metadata": {"type": "object"}}
    whole = fields(description, head | parts, required=("spec",) if required else ())
    shown = {"additionalPrinterColumns": columns} if columns else {}
    return {
        "name": name, "served": True, "storage": True, **more, **shown,
        "schema": {"openAPIV3Schema": whole}, "subresources": {"status": {}},
    }  # fmt: skip


def resource(kind: str, plural: str, *versions: Schema) -> Schema:
    """A CustomResourceDefinition of the group metallb.io, namespaced."""
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.metallb.io"},
        "spec": {"group": "metallb.io", "names": names, "scope": "Namespaced", "versions": list(versions)},
    }  # fmt: skip
