"""List and watch of one kind: what to ask next, and what the answers' bytes mean. Pure; `watch.py` has the socket.

    next_request() --> list a page, or watch from a version    opened(), page(), feed() --> what changed
                                                               closed(), failed() --> how long to wait

The first watch asks the server to send all that there is before what changes (`sendInitialEvents`), up to a bookmark
that says so: neither side then ever holds the whole list in one piece. A server that does not do that is asked for
pages. Either way what is known stays as it is until the new list is complete, and then only differences are told.

A watch that ends, or is cut, is taken up where it was. All is listed again if the server says that this is too long
ago (410), or does not know that version yet, and after the server could not be reached at all: its store may have been
put back meanwhile to an older state, whose versions say nothing about those we know.

What does not decode costs that one object, which stays as it was last known; and an object that is not kept
(`keep` returns None) is one that is not there.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from cluster.backoff import Backoff
from cluster.refusal import ApiError, Status
from cluster.resources import Key, Object, Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.kinds import Kind

PAGE = 500
WATCH_S = 300.0
"""How long a watch is asked to last at least; up to twice as long, so that they don't all end at once."""
OUTAGE = 3
"""Cut off so many times in a row before it answered, a server is gone; one that refuses, or is silent, is at once."""
STOOD_S = 0.5
"""A watch that has stood for so long was worth asking for, whatever became of it."""
SILENCE_S = 150.0
"""How long a watch may say nothing: bookmarks come every minute."""
LINE_AT_MOST = 32 << 20
"""An object is at most a few MiB long: what is longer is no line."""
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
NO_STREAMING = 400, 422
"""How a server refuses `sendInitialEvents`."""

T = TypeVar("T", bound=Object)
V = TypeVar("V")
D = TypeVar("D")


class Changed(NamedTuple, Generic[V]):
    """An object came (no `before`), became another (both), or went (no `after`)."""

    key: Key
    before: V | None
    after: V | None


class Request(NamedTuple):
    """What to ask next."""

    verb: str
    """`list` or `watch`."""
    query: dict[str, str]


class Counts(msgspec.Struct):
    """What happened to one kind."""

    events: int = 0
    lists: int = 0
    """That were complete."""
    failures: int = 0
    unreadable: int = 0


class _MarkMeta(Struct, frozen=True):
    resource_version: str = ""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class _Mark(Struct, frozen=True):
    """A bookmark: an object of the kind that is watched, but for what it says."""

    metadata: _MarkMeta


class _Name(Struct, frozen=True):
    resource_version: str = ""
    name: str = ""
    namespace: str = ""


class _Named(Struct, frozen=True):
    """What is left of an object that does not decode."""

    metadata: _Name


class _ListMeta(Struct, frozen=True):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: tuple[msgspec.Raw, ...] | None = ()


class _Event(Struct, frozen=True):
    type: str
    object: msgspec.Raw


class Watching(Generic[T, V]):
    """What is known of one kind, and how to learn more."""

    def __init__(
        self,
        kind: Kind[T],
        keep: Callable[[T], V | None],
        *,
        namespace: str = "",
        name: str = "",
        labels: str = "",
        backoff: Backoff | None = None,
    ) -> None:
        """Follow all objects of `kind`, or those of a namespace, the one of a `name` there, those that a label
        selector selects. Of each, `keep` says what is remembered: what does not change that is no change.
        """
        self.kind, self.namespace, self.name = kind, namespace, name
        self.objects: dict[Key, V] = {}
        self.complete = False
        """A list of all has been received."""
        self.counts = Counts()
        self.complaints: list[str] = []
        """What did not decode, to be told to somebody and cleared."""
        self.backoff = backoff or Backoff()
        self._keep = keep
        self._selection = {"fieldSelector": f"metadata.name={name}"} if name else {}
        if labels:
            self._selection["labelSelector"] = labels
        self._page = msgspec.json.Decoder(_Page)
        self._event = msgspec.json.Decoder(_Event)
        self._object: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind.struct)
        self._streams = True
        self._version = ""
        """Where to watch from; empty: list first."""
        self._continue = ""
        self._listing: dict[Key, V] | None = None
        """What a list has brought so far."""
        self._line = bytearray()
        self._opened_s: float | None = None
        """When the server took the watch that is under way."""
        self._unreached = 0
        """How often in a row the server could not be asked at all."""

    # -- what to ask -------------------------------------------------------------------------------------------------

    def next_request(self) -> Request:
        """What to ask now. Forgets what was left of the answer before."""
        self._line.clear()
        self._opened_s = None
        query = dict(self._selection)
        if self._version or self._streams:
            query |= {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(round(WATCH_S * (1 + random.random()))),  # noqa: S311
            }
            if self._version:
                query["resourceVersion"] = self._version
            else:
                self._listing = {}
                query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            return Request("watch", query)
        query["limit"] = str(PAGE)
        if self._continue:
            query["continue"] = self._continue
        else:
            self._listing = {}
        return Request("list", query)

    # -- what was answered -------------------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """The server has taken the watch."""
        self._opened_s, self._unreached = now, 0

    def page(self, body: bytes) -> list[Changed[V]]:
        """A page of a list; what changed, once it is the last one. ValueError, if it is none."""
        page = _understood(self._page, body)
        assert self._listing is not None, "a page was not asked for"
        for raw in page.items or ():
            if (found := self._decoded(raw)) is not None:
                _put(self._listing, found[0], found[2])
        self.backoff.well()
        self._continue = page.metadata.continue_
        if self._continue:
            return []
        return self._listed(page.metadata.resource_version)

    def feed(self, chunk: bytes) -> list[Changed[V]]:
        """Bytes of a watch; what changed by them. Raises ApiError, if the server says that it cannot go on, and
        ValueError, if this is no watch.
        """
        *lines, rest = chunk.split(b"\n")
        changes: list[Changed[V]] = []
        for line in lines:
            if self._line:
                self._line += line
                line, self._line = bytes(self._line), bytearray()  # noqa: PLW2901
            if line.strip():
                self._take(line, changes)
        self._line += rest
        if len(self._line) > LINE_AT_MOST:
            raise ValueError(f"watch {self.kind.resource}: expected lines, not {len(self._line)} bytes without an end")
        return changes

    def closed(self, now: float) -> float:
        """The watch ended as it should; how long to wait. Not at all, if it has stood for a while."""
        return 0.0 if self._stood(now) else self.backoff.failed()

    def failed(self, error: ApiError | OSError | ValueError, now: float) -> float:
        """What was asked for failed, or broke off; how long to wait."""
        self.counts.failures += 1
        if self._stood(now):
            self.backoff.well()
        if not isinstance(error, ApiError):
            self._continue = ""
            if self._opened_s is None:
                self._unreached += OUTAGE if isinstance(error, ConnectionRefusedError | TimeoutError) else 1
            if self._unreached >= OUTAGE or isinstance(error, ValueError):
                self._version = ""
            return self.backoff.failed()
        if error.code in NO_STREAMING and self._streams and not self._version:
            self._streams = False
            return 0.0
        if error.expired:
            self._version = self._continue = ""
        return self.backoff.failed(error.retry_after_s)

    def _stood(self, now: float) -> bool:
        return self._opened_s is not None and now - self._opened_s >= STOOD_S

    # -- what it means -----------------------------------------------------------------------------------------------

    def _take(self, line: bytes, changes: list[Changed[V]]) -> None:
        """One event of a watch."""
        event = _understood(self._event, line)
        if event.type == "ERROR":
            status = _understood(_STATUS, event.object)
            raise ApiError(f"watch {self.kind.resource}", status.code, status.reason, status.message)
        self.backoff.well()
        if event.type == "BOOKMARK":
            self._mark(_understood(_MARK, event.object).metadata, changes)
            return
        self.counts.events += 1
        found = self._decoded(event.object)
        if found is None:
            return
        key, version, after = found
        if event.type == "DELETED":
            after = None
        if self._listing is not None:
            _put(self._listing, key, after)
            return
        self._version = version or self._version
        before = self.objects.get(key)
        if after != before:
            _put(self.objects, key, after)
            changes.append(Changed(key, before, after))

    def _mark(self, mark: _MarkMeta, changes: list[Changed[V]]) -> None:
        """A bookmark: up to here, all has been told."""
        if self._listing is None:
            self._version = mark.resource_version or self._version
        elif mark.annotations.get(INITIAL_EVENTS_END) == "true":
            changes += self._listed(mark.resource_version)
        else:  # An old server took no notice of what it was asked, and will never say that this is all
            self._streams, self._listing = False, None
            raise ValueError(f"watch {self.kind.resource}: expected a list before what changes")

    def _decoded(self, raw: msgspec.Raw) -> tuple[Key, str, V | None] | None:
        """An object: its key, its version, and what is kept of it. What can't be read stays as it is known; None, if
        not even its name can be read.
        """
        try:
            decoded = self._object.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._unread(raw, error)
        return decoded.key, decoded.metadata.resource_version, self._keep(decoded)

    def _unread(self, raw: msgspec.Raw, error: Exception) -> tuple[Key, str, V | None] | None:
        self.counts.unreadable += 1
        key, version = Key("", "?"), ""
        try:
            metadata = msgspec.json.decode(raw, type=_Named).metadata
            key, version = Key(metadata.namespace, metadata.name), metadata.resource_version
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        self.complaints.append(f"{self.kind.name} {key}: {error}")
        return None if key.name == "?" else (key, version, self.objects.get(key))

    def _listed(self, version: str) -> list[Changed[V]]:
        """A list is complete: what differs from what was known."""
        assert self._listing is not None
        listed, self._listing, self._version = self._listing, None, version
        changes: list[Changed[Any]] = [
            Changed(key, before, None) for key, before in self.objects.items() if key not in listed
        ]
        for key, after in listed.items():
            before = self.objects.get(key)
            if before is not None and after == before:
                listed[key] = before  # Others have it too: once in memory is enough
            else:
                changes.append(Changed(key, before, after))
        self.objects, self.complete = listed, True
        self.counts.lists += 1
        return changes


_MARK, _STATUS = msgspec.json.Decoder(_Mark), msgspec.json.Decoder(Status)


def _understood(decoder: msgspec.json.Decoder[D], text: bytes | msgspec.Raw) -> D:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"expected what the API promises, not {bytes(text)[:80]!r}: {error}") from None


def _put(objects: dict[Key, V], key: Key, value: V | None) -> None:
    if value is None:
        objects.pop(key, None)
    else:
        objects[key] = value
