"""From a tree of YAML to frozen structs, naming every problem at once.

msgspec would stop at the first error and know no lines, so the walk is ours; the types (and their bounds) are the
structs', read through `msgspec.inspect`, which is also where `schema` gets them from: what is accepted and what an
editor offers cannot drift apart. A field is one of: a struct, an int with bounds, true or false, a choice of words,
text, a list of any of these, or a type with a `Reader` of its own; `| None` means that `off` may be written for it,
`| UnsetType` that it may be left out. What a struct demands of its fields together, it says itself: a ValueError of its
`__post_init__` becomes a problem of the mapping.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec.inspect as types

from arpfast.yamltree import Mapping, Node, Problem, Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_WHOLE = re.compile(r"[-+]?[0-9][0-9_]*")
_TRUTHS = ("true", "false")
OFF: Final = "off"


class _Bad:
    """What stands where no value could be read."""


BAD: Final = _Bad()


class Reader(NamedTuple):
    """How a type of our own is written: read from a node (BAD once the problems were told), and as JSON Schema."""

    read: Callable[[Node, str, dict[str, Any], list[Problem]], Any]
    schema: dict[str, Any]
    write: Callable[[Any], Any]


Readers = dict[type, Reader]


def describe(node: Node) -> str:
    """What the user wrote, for the right-hand side of "expected ..., not ..."."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list" if node else "an empty list"
    if not node.text:
        return "an empty text" if node.quoted else "nothing"
    return ("the text " if node.quoted else "") + repr(node.text if len(node.text) <= 60 else node.text[:57] + "...")


def alternatives(values: Iterable[str]) -> str:
    """`a, b or c`."""
    *head, last = list(values)
    return f"{', '.join(head)} or {last}" if head else last


def closest(name: str, names: Iterable[str]) -> str:
    """The suggestion that ends a message about an unknown name, or nothing when none is near."""
    near = difflib.get_close_matches(name.lower(), names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def plain(expected: types.Type) -> tuple[types.Type, dict[str, Any], bool]:
    """A field's type without its wrapping, the extra bounds given with it, and whether it may be `off`."""
    extra: dict[str, Any] = {}
    optional = False
    while True:
        if isinstance(expected, types.Metadata):
            extra |= expected.extra or {}
            expected = expected.type
        elif isinstance(expected, types.UnionType):
            (expected,) = (one for one in expected.types if not isinstance(one, types.NoneType))
            optional = True
        else:
            return expected, extra, optional


def decode(node: Node, expected: types.Type, path: str, readers: Readers, problems: list[Problem]) -> Any:
    """The value of `node`, or BAD after its problems were appended to `problems`."""
    expected, extra, optional = plain(expected)
    if optional and isinstance(node, Scalar) and node.text == OFF:
        return None
    or_off = " or off" if optional else ""

    def refuse(what: str) -> _Bad:
        problems.append(Problem(node.line, path, f"expected {what}{or_off}, not {describe(node)}"))
        return BAD

    match expected:
        case types.StructType(cls=cls) | types.CustomType(cls=cls) if cls in readers:
            return readers[cls].read(node, path, {**extra, "or_off": f", or {OFF}" if optional else ""}, problems)
        case types.StructType():
            if not isinstance(node, Mapping):
                return refuse("a mapping of fields")
            return _decode_struct(node, expected, path, readers, problems)
        case types.LiteralType(values=values):
            if isinstance(node, Scalar) and node.text in values:
                return node.text
            hint = closest(node.text, map(str, values)) if isinstance(node, Scalar) else ""
            refuse(alternatives(map(str, values)))
            problems[-1] = problems[-1]._replace(message=problems[-1].message + hint)
            return BAD
        case types.IntType(ge=lowest, le=highest):
            what = f"a whole number from {lowest} to {highest}"
            if not isinstance(node, Scalar) or node.quoted or len(node.text) > 20 or not _WHOLE.fullmatch(node.text):
                return refuse(what)
            number = int(node.text)
            return number if (lowest or 0) <= number and (highest is None or number <= highest) else refuse(what)
        case types.BoolType():
            if not isinstance(node, Scalar) or node.quoted or node.text not in _TRUTHS:
                return refuse("true or false")
            return node.text == "true"
        case types.StrType(pattern=pattern):
            what = extra.get("what", "text")
            if not isinstance(node, Scalar) or not node.text or (pattern and not re.search(pattern, node.text)):
                return refuse(what)
            return node.text
        case types.VarTupleType(item_type=item_type, min_length=least):
            if not isinstance(node, Sequence) or len(node) < (least or 0):
                return refuse(extra.get("what", "a list"))
            items = [decode(item, item_type, f"{path}[{at}]", readers, problems) for at, item in enumerate(node)]
            return BAD if BAD in items else tuple(items)
    raise AssertionError(f"no way to read a {expected}")


def _decode_struct(
    node: Mapping, expected: types.StructType, path: str, readers: Readers, problems: list[Problem]
) -> Any:
    fields = {field.encode_name: field for field in expected.fields}
    values: dict[str, Any] = {}
    seen: dict[str, int] = {}
    before = len(problems)
    for key, child in node.pairs:
        inner = f"{path}.{key.text}" if path else key.text
        if key.text in seen:
            problems.append(Problem(key.line, inner, f"expected once, not again (first on line {seen[key.text]})"))
            continue
        seen[key.text] = key.line
        field = fields.get(key.text)
        if field is None:
            hint = closest(key.text, fields) or f"; expected one of {', '.join(fields)}"
            problems.append(
                Problem(key.line, inner if len(inner) <= 80 else inner[:77] + "...", f"unknown field{hint}")
            )
            continue
        values[field.name] = decode(child, field.type, inner, readers, problems)
    problems.extend(
        Problem(node.line, f"{path}.{name}" if path else name, "expected a value, not nothing: it has no default")
        for name, field in fields.items()
        if field.required and name not in seen
    )
    if len(problems) > before:
        return BAD
    try:
        return expected.cls(**values)
    except ValueError as error:
        problems.append(Problem(node.line, path, str(error)))
        return BAD
