"""The rows that were written by hand for answer(), each of them in the kernel as well: these very tests, once more.

Whatever they ask answer() is asked the XDP program too, and has to come to the same.
"""

from __future__ import annotations

from inspect import isfunction
from typing import TYPE_CHECKING, Any

import pytest

from arpfast.answer import Link, Outcome, Table, answer
from arpfast.bpf.answering import Way
from tests.arpfast import scene, test_answer, test_nd
from tests.arpfast.wire import MEMBER_MAC
from tests.real.in_kernel import Kernel
from tests.real.test_xdp_verdicts import same

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = (test_answer, test_nd)
for _rows in ROWS:
    globals().update({name: row for name, row in vars(_rows).items() if name.startswith("test_") and isfunction(row)})


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel(Way.NATIVE, members=[MEMBER_MAC])
    yield kernel
    kernel.close()


@pytest.fixture(autouse=True)
def _in_the_kernel_too(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    sits: tuple[Link, Table] | None = None

    def both(table: Table, link: Link, frame: bytes, **room: Any) -> Outcome:
        nonlocal sits
        if not room:
            if sits is None or sits[0] is not link or sits[1] is not table:
                kernel.sit(link, table)
                sits = link, table
            same(kernel, frame, link, table)
        return answer(table, link, frame, **room)

    for module in (scene, *ROWS):
        monkeypatch.setattr(module, "answer", both)
