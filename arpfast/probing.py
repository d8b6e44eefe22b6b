"""When to probe, and how long to listen, before an address is first used. Pure: random numbers come from the caller.

RFC 5227 §2.1.1 (ARP probes) and RFC 4862 §5.4, §5.1 (duplicate address detection). `quick` keeps the rules and shortens
the times: hosts on today's networks answer within a millisecond, and the RFCs allow a link type a profile of its own
(RFC 5227 §2.2).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from random import Random

    from arpfast.spans import Version

PROBE_WAIT_S, PROBE_NUM, PROBE_MIN_S, PROBE_MAX_S, ANNOUNCE_WAIT_S = 1.0, 3, 1.0, 2.0, 2.0  # RFC 5227 §1.1
MAX_RTR_SOLICITATION_DELAY_S, DUP_ADDR_DETECT_TRANSMITS, RETRANS_TIMER_S = 1.0, 1, 1.0  # RFC 4861 §10, RFC 4862 §5.1
QUICK_NUM, QUICK_GAP_S = 3, 0.1
QUICK_JOIN_S = 0.05
"""The kernel reports a joined group some 20 ms after it was asked to: a snooping switch must have heard of it before
the first question leaves, or whoever asks for the same address at the same time is not heard (RFC 4862 §5.4.2).
"""

PROBED_AT_MOST = 1 << 20
"""Addresses of one span. What is larger cannot be probed or announced address by address (a /12 at the default pace
takes minutes, a /64 ages): it is answered for at once, and `explain` says so."""


class ProbeMode(StrEnum):
    """How addresses are probed before they are first used."""

    QUICK = "quick"
    RFC = "rfc"
    OFF = "off"


class ProbePlan(NamedTuple):
    """How often to probe, and the waits, in seconds: before the first probe, then after each; the last is the wait for
    the verdict.
    """

    first_delay_s: float
    gaps_s: tuple[float, ...]

    @property
    def probes(self) -> int:
        """How many probes it takes."""
        return len(self.gaps_s)


def plan(mode: ProbeMode, version: Version, random: Random) -> ProbePlan:
    """The plan for one set of addresses that are probed together; not for mode `off`."""
    assert mode is not ProbeMode.OFF
    if mode is ProbeMode.QUICK:
        return ProbePlan(0.0 if version == 4 else QUICK_JOIN_S, (QUICK_GAP_S,) * QUICK_NUM)
    if version == 6:
        return ProbePlan(
            random.uniform(0, MAX_RTR_SOLICITATION_DELAY_S), (RETRANS_TIMER_S,) * DUP_ADDR_DETECT_TRANSMITS
        )
    between = tuple(random.uniform(PROBE_MIN_S, PROBE_MAX_S) for _ in range(PROBE_NUM - 1))
    return ProbePlan(random.uniform(0, PROBE_WAIT_S), (*between, ANNOUNCE_WAIT_S))
