"""What `balanced` must do, in plain Python: slow, unit by unit, in fractions. The tests compare both."""

from __future__ import annotations

from fractions import Fraction
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arpfast.election import Candidate
    from arpfast.spans import Span, Spans

SLACK = Fraction(11, 10)
WORD = (1 << 64) - 1


def mix(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & WORD
    return word ^ word >> 31


def score(span: Span, name: str) -> int:
    version, first, last = span
    word = mix(version)
    for part in (first >> 64, first & WORD, last >> 64, last & WORD):
        word = mix(word ^ part)
    return mix(word ^ int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big"))


def standing(candidate: Candidate, territory: Spans) -> int:
    networks = candidate.networks
    if not candidate.carrier or (networks is not None and territory - networks):
        return 6
    if territory & candidate.unhealthy:
        return 5 if candidate.drained else 4
    return 3 if candidate.drained else 2 if candidate.holding else 1 if candidate.weight == 0 else 0


def elect(
    units: Sequence[tuple[Span, Spans]], candidates: Sequence[Candidate], incumbents: Mapping[str, Spans]
) -> list[str | None]:
    """The owner of each unit, which is its span and the territory that it answers for."""
    known = {candidate.name: candidate for candidate in sorted(candidates, key=lambda each: each.name)}
    weight = {name: max(candidate.weight, 1) for name, candidate in known.items()}
    stands = [{name: standing(candidate, territory) for name, candidate in known.items()} for _, territory in units]
    classes: dict[tuple[int, ...], list[int]] = {}
    for unit, row in enumerate(stands):
        classes.setdefault(tuple(row.values()), []).append(unit)

    tops: list[list[str]] = []
    for row in stands:
        rank = {name: (row[name], -known[name].preference) for name in known if row[name] < 6}
        tops.append([name for name in rank if rank[name] == min(rank.values())])

    load = dict.fromkeys(known, 0)
    owner: list[str | None] = [None] * len(units)
    holder: list[str | None] = [None] * len(units)
    for unit, (span, territory) in enumerate(units):
        row, top, anchor = stands[unit], tops[unit], territory.spans[0]
        claimants = [
            name for name in known if name in incumbents and incumbents[name].find(anchor.version, anchor.first)
        ]
        if claimants:
            held = min(claimants, key=lambda name: (row[name], -known[name].preference, -score(span, name)))
            holder[unit] = held
            if held in top or row[held] == 2 or (row[held] == min(row.values()) and 3 <= row[held] < 6):
                owner[unit] = held
                load[held] += 1
    for unit, (span, _) in enumerate(units):
        if owner[unit] is None and tops[unit]:
            level = {name: Fraction(load[name], weight[name]) for name in tops[unit]}
            admitted = [name for name in level if level[name] <= SLACK * min(level.values())]
            next_level = {name: Fraction(load[name] + 1, weight[name]) for name in admitted}
            admitted = [name for name in admitted if next_level[name] <= SLACK * min(next_level.values())]
            chosen = max(admitted, key=lambda name: score(span, name))
            owner[unit] = chosen
            load[chosen] += 1

    net: dict[tuple[int, str], int] = {}
    again = True
    while again:
        again = False
        for number, members in enumerate(classes.values()):
            top = tops[members[0]]
            if not top or stands[members[0]][top[0]] > 1:
                continue
            while True:
                has = {name: sum(owner[unit] == name for unit in members) + net.get((number, name), 0) for name in top}
                givers = [name for name in top if has[name]]
                if not givers:
                    break
                giver = max(givers, key=lambda name: Fraction(load[name] - 1, weight[name]))
                receiver = min(top, key=lambda name: (Fraction(load[name], weight[name]), -weight[name]))
                if Fraction(load[giver] - 1, weight[giver]) <= SLACK * Fraction(load[receiver], weight[receiver]):
                    break
                again = True
                for name, change in ((giver, -1), (receiver, 1)):
                    load[name] += change
                    net[number, name] = net.get((number, name), 0) + change
    for number, members in enumerate(classes.values()):
        moving: list[int] = []
        for name in tops[members[0]]:
            has_now = [unit for unit in members if owner[unit] == name]
            has_now.sort(key=lambda unit: (holder[unit] == name, score(units[unit][0], name), unit))
            moving += has_now[: max(0, -net.get((number, name), 0))]
        for unit in sorted(moving):
            room = [name for name in tops[unit] if net.get((number, name), 0) > 0]
            owner[unit] = max(room, key=lambda name: score(units[unit][0], name))
            net[number, owner[unit] or ""] -= 1
    return owner
