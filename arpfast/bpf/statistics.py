"""What the kernel counted and could not do, for status and metrics."""

from __future__ import annotations

from msgspec import Struct


class FilterStatistics(Struct, frozen=True):
    """Frames since the filter was loaded, all interfaces together. What one filter refuses, a second socket may get."""

    passed: int  # to the responder
    foreign: int  # refused: about no address of ours
    malformed: int  # refused: too short, or neither ARP nor Neighbor Discovery
    stray: int  # refused: tagged, sent by this host, or to another's MAC
    limited: int  # refused: more questions than the rate limit allows
    guard_admitted: int  # questions for our addresses that the guard let by
    guard_limited: int  # and that it refused, before they could reach the filter
    unfiltered: dict[
        int, str
    ]  # interfaces (by index) whose table the kernel did not take, and why: all their frames pass
    unguarded: dict[int, str]  # interfaces without a guard though there is a limit: their filter keeps the limit alone
