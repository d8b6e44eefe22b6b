"""YAML text as a tree of lines: what stands where, before anybody asks what it means.

A plain scalar stays the text that was written. YAML 1.1 would make `probe: off` a false and the IPv6 address
`1:2:3:4:5:6:7:8` a base-60 number; here the type of the field that receives the text decides what it is. Every node
knows its line, so that whoever refuses a value can say where it stands.

The input is a file that somebody else may have written, so everything is bounded: size, number of values, depth.
Aliases (and with them the doubling "bombs"), tags and a second document are refused: a settings file needs none.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_MAX = 32 << 20
NODES_MAX = 1_000_000
DEPTH_MAX = 16
_PLAIN = (None, "")


class Problem(NamedTuple):
    """One thing that the reader of a file has to change. `line` counts from 1 (0: no line of its own)."""

    line: int
    field: str
    message: str


class Scalar(NamedTuple):
    """A single value as written; `quoted` tells `"1"` from `1`."""

    line: int
    text: str
    quoted: bool


class Sequence:
    """A list. There may be 100 000 scalars in it, which are kept as two flat columns: a fifth of the memory."""

    __slots__ = ("_notes", "_what", "line")

    def __init__(self, line: int) -> None:
        """Nothing is in it yet."""
        self.line = line
        self._what: list[str | Sequence | Mapping] = []
        self._notes = array("L")  # of each: its line, and in the lowest bit whether it is quoted

    def append(self, node: Node) -> None:
        """Add an item."""
        self._what.append(node.text if isinstance(node, Scalar) else node)
        self._notes.append(node.line << 1 | (isinstance(node, Scalar) and node.quoted))

    def append_scalar(self, line: int, text: str, *, quoted: bool) -> None:
        """Add `Scalar(line, text, quoted)`."""
        self._what.append(text)
        self._notes.append(line << 1 | quoted)

    def __len__(self) -> int:
        return len(self._what)

    def __iter__(self) -> Iterator[Node]:
        for what, note in zip(self._what, self._notes, strict=True):
            yield Scalar(note >> 1, what, bool(note & 1)) if isinstance(what, str) else what

    def texts(self) -> list[str] | None:
        """All items as they are written, if they are scalars."""
        texts = [what for what in self._what if isinstance(what, str)]
        return texts if len(texts) == len(self._what) else None


class Mapping(NamedTuple):
    """Keys and values in the order of the file, duplicates included: refusing those is left to the reader."""

    line: int
    pairs: list[tuple[Scalar, Node]]


Node = Scalar | Sequence | Mapping


class Unreadable(Exception):  # noqa: N818 (it carries a Problem; the error that the user sees is ConfigError)
    """The text is no YAML, or YAML of a kind that a settings file does not need."""

    def __init__(self, problem: Problem) -> None:
        """Keep the one problem that ended the reading."""
        super().__init__(problem.message)
        self.problem = problem


def _refuse(line: int, message: str) -> Unreadable:
    return Unreadable(Problem(line, "", message))


def parse(source: bytes) -> Node | None:
    """Read one YAML document; None when there is nothing in it but comments. Raises Unreadable."""
    if len(source) > SIZE_MAX:
        raise _refuse(0, f"expected at most {SIZE_MAX >> 20} MiB, not more")
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refuse(source.count(b"\n", 0, error.start) + 1, "expected text in UTF-8, not other bytes") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml reads 100 000 addresses in 1 s instead of 10
    root: Node | None = None
    open_nodes: list[Sequence | Mapping] = []
    keys: list[Scalar | None] = []
    documents = nodes = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _refuse(line, "expected a single YAML document, not a second one")
            if isinstance(event, yaml.CollectionEndEvent):
                open_nodes.pop()
                keys.pop()
                continue
            if not isinstance(event, yaml.NodeEvent):
                continue
            nodes += 1
            if nodes > NODES_MAX:
                raise _refuse(line, f"expected at most {NODES_MAX} values, not more")
            if event.anchor is not None or isinstance(event, yaml.AliasEvent):
                raise _refuse(line, "expected plain values, not YAML anchors (&) or aliases (*)")
            if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
                raise _refuse(line, f"expected plain values, not the YAML tag {event.tag}")
            parent = open_nodes[-1] if open_nodes else None
            if isinstance(parent, Sequence) and isinstance(event, yaml.ScalarEvent):
                parent.append_scalar(line, event.value, quoted=event.style not in _PLAIN)
                continue
            node = _node(event, line)
            if parent is None:
                root = node
            elif isinstance(parent, Sequence):
                parent.append(node)
            elif (key := keys[-1]) is not None:
                parent.pairs.append((key, node))
                keys[-1] = None
            elif isinstance(node, Scalar):
                keys[-1] = node
            else:
                raise _refuse(line, "expected the name of a field, not a list or a mapping")
            if not isinstance(node, Scalar):
                open_nodes.append(node)
                keys.append(None)
                if len(open_nodes) > DEPTH_MAX:
                    raise _refuse(line, f"expected at most {DEPTH_MAX} levels, not more")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        at = mark.line if mark else -1
        if "flow" in said and "::" in "".join(text.splitlines()[at : at + 1]):
            said += "; an IPv6 address that begins or ends with a colon needs quotes inside [...]"
        raise _refuse(at + 1, f"expected YAML: {said}") from None
    except yaml.reader.ReaderError as error:
        at = error.position if isinstance(error.position, int) else 0
        raise _refuse(
            text.count("\n", 0, at) + 1, f"expected text, not the character #x{error.character:04x}"
        ) from None
    if isinstance(root, Scalar) and not root.text and not root.quoted:
        return None
    return root


def _node(event: yaml.NodeEvent, line: int) -> Node:
    if isinstance(event, yaml.ScalarEvent):
        return Scalar(line, event.value, event.style not in _PLAIN)
    if isinstance(event, yaml.SequenceStartEvent):
        return Sequence(line)
    return Mapping(line, [])
