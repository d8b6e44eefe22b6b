"""A member of a ring, as far as its thread goes: a process that holds a responder, and can be stopped and killed.

It does what it is told in Python, one line a time, with what `arpfast.responder` exports by name, and says what facts
it gets. It knows nothing of rings: who decides what to answer is the test.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import wait_until

if TYPE_CHECKING:
    from arpfast.crossing import FactKind
    from lab import Link

DEADLINE_S = 20.0
"""Generous: a loaded machine of two cores must not fail a test that waits for what surely comes."""

PROGRAM = """
import json, select, sys
from arpfast.answer import Table
from arpfast.crossing import *
from arpfast.responder import *
from arpfast.spans import Span, Spans
options = json.loads(sys.argv[1])
limit = RateLimit(*options.pop("limit")) if "limit" in options else None
filter_ = None
if options.pop("filtered", False):
    from arpfast.bpf.programs import Filter
    filter_ = Filter(limit=limit)
responder = Responder(limit=limit, filter=filter_, **options)
responder.start()
waiting = select.poll()
waiting.register(0, select.POLLIN)
waiting.register(responder.fileno(), select.POLLIN)
print("ready", flush=True)
while True:
    for file, _ in waiting.poll():
        if file != 0:
            for fact in responder.facts():
                told = {"kind": fact.kind.name, "address": fact.address, "mac": fact.mac.hex(":"),
                        "ns": fact.monotonic_ns, "span_ns": fact.span_ns, "ifindex": fact.ifindex}
                print("fact", json.dumps(told), flush=True)
            continue
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        number, _, code = line.partition(" ")
        try:
            exec(code, said := {**globals()})
        except Exception as error:
            print("refused", number, repr(error), flush=True)
        else:
            print("done", number, json.dumps(said.get("answer")), flush=True)
"""


class Member:
    """A process in the link's host that answers on the link once it is told for what."""

    def __init__(self, link: Link, **options: object) -> None:
        """`options` are the responder's; `filtered` with the kernel's filter, `limit` as the fields of a RateLimit."""
        self.link = link
        read, self._write = os.pipe()
        self.process = link.host.spawn([sys.executable, "-P", "-c", PROGRAM, json.dumps(options)], stdin=read)
        os.close(read)
        self._told = 0
        self.process.wait_for_line("^ready$", DEADLINE_S)

    def do(self, code: str) -> Any:
        """Have it run one line of Python; what it leaves in `answer`. Raises RuntimeError for what that raises."""
        self._told += 1
        os.write(self._write, f"{self._told} {code}\n".encode())
        verb, said = self.process.wait_for_line(f"^(done|refused) {self._told} (.*)$", DEADLINE_S).groups()
        if verb == "refused":
            raise RuntimeError(said)
        return json.loads(said)

    def answer(self, *addresses: str, **fields: object) -> None:
        """Answer for these addresses on the link, and for no others."""
        link = self.link
        spans = ", ".join(map(repr, addresses))
        wish = {"router": False, "link_local": None, "kin": (), "nonce": b"nonce!", **fields}
        given = ", ".join(f"{name}={value!r}" for name, value in wish.items())
        self.do(
            f"responder.set_link({link.index}, {link.name!r}, {bytes(link.mac)!r}, {given}, "
            f"table=Table(own=Spans.parse({spans})))"
        )

    def verdicts(self, name: str) -> int:
        """How many frames met this verdict."""
        code = f"answer = {{v.name: n for v, n in responder.statistics().links[0].verdicts.items()}}[{name!r}]"
        return int(self.do(code))

    def facts(self, kind: FactKind | None = None) -> list[dict[str, Any]]:
        """What it was told so far, oldest first."""
        said = [json.loads(line[5:]) for line in self.process.lines if line.startswith("fact ")]
        return [fact for fact in said if kind is None or fact["kind"] == kind.name]

    def wait_fact(self, kind: FactKind, count: int = 1, **fields: object) -> dict[str, Any]:
        """Wait for the `count`-th fact of this kind with these fields."""

        def found() -> list[dict[str, Any]]:
            return [fact for fact in self.facts(kind) if fields.items() <= fact.items()][count - 1 :]

        return wait_until(found, DEADLINE_S, what=f"{count} facts {kind.name} among {self.facts()}")[0]

    def stop(self) -> None:
        """SIGSTOP: it stands still."""
        self.process.signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", what="it to stand still")

    def go_on(self) -> None:
        """SIGCONT."""
        self.process.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def close(self) -> None:
        """End it."""
        os.close(self._write)
        self.process.close()
