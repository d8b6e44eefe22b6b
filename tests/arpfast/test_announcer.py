"""The announcer's shell, in virtual time, before a responder that can be made to refuse."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, cast

import pytest

from arpfast.announcer import Announcer, Answer, Event, Settings
from arpfast.interfaces import Interface
from arpfast.office import AnnounceSettings
from arpfast.probing import ProbeMode
from arpfast.spans import Spans

if TYPE_CHECKING:
    from arpfast.responder import Responder

ETH0 = Interface(index=7, name="eth0", mac=b"\2\0\0\0\0\1", up=True, carrier=True)


class Stubborn:
    """Opens an interface when `error` is 0."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.tried = 0
        self.dropped: list[int] = []

    def set_link(self, ifindex: int, *_: object, **__: object) -> None:
        self.tried += 1
        if self.error:
            raise OSError(self.error, f"could not open {ifindex}")

    def drop_link(self, ifindex: int) -> None:
        self.dropped.append(ifindex)

    def facts(self) -> list[Any]:
        return []

    def taken_lost(self) -> int:
        return 0

    def send(self, messages: list[Any]) -> int:
        return len(messages)


def started(responder: Stubborn, events: list[Event]) -> Announcer:
    announcer = Announcer(cast("Responder", responder), rate_per_s=20_000, report=events.append)
    announcer.want([Answer(Spans.parse("192.0.2.10"))], Settings(announce=AnnounceSettings(probe=ProbeMode.OFF)))
    announcer.interfaces({7: ETH0})
    announcer._turn(100.0)
    return announcer


@pytest.mark.parametrize(("error", "told"), [(errno.ENODEV, 0), (errno.EMFILE, 1)])
def test_an_interface_that_cannot_be_opened_is_tried_once_a_second(error: int, told: int) -> None:
    responder, events = Stubborn(error), list[Event]()
    announcer = started(responder, events)
    for now in (100.1, 100.5, 100.9):
        announcer._turn(now)
    assert responder.tried == 1
    announcer._turn(101.1)
    announcer._turn(101.2)
    assert responder.tried == 2
    responder.error = 0
    for now in (102.2, 103.3, 104.4):
        announcer._turn(now)
    assert responder.tried == 3
    assert sum(event.event == "interface cannot be used" for event in events) == told


def test_a_newer_wish_for_an_interface_that_cannot_be_opened_does_not_wait() -> None:
    responder = Stubborn(errno.ENODEV)
    announcer = started(responder, [])
    announcer.want([], Settings())
    announcer._turn(100.1)
    assert responder.tried == 2


def test_an_interface_that_was_never_opened_is_dropped_like_any_other() -> None:
    """The filter before the responder may know of it."""
    responder = Stubborn(errno.ENODEV)
    announcer = started(responder, [])
    announcer.interfaces({})
    announcer._turn(100.1)
    assert responder.dropped == [7]
    announcer._turn(102.0)
    assert responder.tried == 1
