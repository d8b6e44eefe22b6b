"""How every demo is played: with a console, or one line why it cannot be, and an end that leaves nothing behind."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from lab.network import obstacle
from lab.process import ProcessFailed
from lab.waiting import DeadlineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.live import Live


def perform(play: Callable[[Console], None]) -> int:
    """Play it; returns the exit status."""
    if reason := obstacle():
        print(f"arpfast: no demo: {reason}", file=sys.stderr)
        return 1
    console = Console(highlight=False)
    try:
        play(console)
    except (DeadlineError, ProcessFailed) as error:
        print(f"arpfast: the demo went wrong: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\narpfast: interrupted; everything has been removed again", file=sys.stderr)
        return 130
    console.print("\nThat was it; everything has been removed again.", style="bold")
    return 0


@contextmanager
def chapter(live: Live, title: str, undo: Callable[[], object]) -> Iterator[None]:
    """Something happens, the client notices what it notices, and then it is undone."""
    with live.chapter(title):
        yield
        live.wait_calm()
    undo()
