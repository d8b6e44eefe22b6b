"""What a switch refuses to forward between its ports, as one nftables table: frames vanish, and no carrier tells.

The table is rendered as a whole from what is refused at the moment, and replaces the one before in one transaction: any
order of parting and healing ends in the same state, and there is no moment in between. It is gone with the switch.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.link import Link
    from lab.switch import Switch

_EMPTY = "table bridge partition {}\ndelete table bridge partition\n"


class Partition:
    """What is refused on one switch. Ports are the switch's own ends of the cables."""

    def __init__(self, switch: Switch) -> None:
        """Nothing is refused."""
        self._switch = switch
        self._muted: set[int] = set()
        self._severed: set[int] = set()
        self._rules: dict[str, list[set[int]]] = {}

    def mute(self, port: Link, muted: bool = True) -> None:
        """Forward nothing that comes from this port, and all that goes to it: a stopped host still receives."""
        (self._muted.add if muted else self._muted.discard)(port.index)
        self._apply()

    def sever(self, port: Link, severed: bool = True) -> None:
        """Forward nothing from and to this port, as if the cable were cut behind a repeater that keeps the carrier."""
        (self._severed.add if severed else self._severed.discard)(port.index)
        self._apply()

    def part(self, sides: Iterable[Iterable[Link]], what: str = "") -> None:
        """Let no frame pass between these sides of ports, or none that `what`, an nftables expression, matches.

        It replaces the partition that the same `what` had. Ports that are on no side see everybody.
        """
        self._rules[what] = [{port.index for port in side} for side in sides]
        self._apply()

    def heal(self) -> None:
        """Forward everything that is not muted."""
        self._severed.clear()
        self._rules.clear()
        self._apply()

    def _apply(self) -> None:
        rules = [f"iif {index} drop" for index in self._muted | self._severed]
        rules += [f"oif {index} drop" for index in self._severed]
        for what, sides in self._rules.items():
            for one, other in permutations(sides, 2):
                if one and other:
                    rules.append(f"iif {_set(one)} oif {_set(other)} {what} drop")
        chain = "\n".join(["type filter hook forward priority 0;", *rules])
        table = f"table bridge partition {{\nchain forward {{\n{chain}\n}}\n}}\n" if rules else ""
        self._switch.run(["nft", "-f", "-"], stdin=_EMPTY + table)


def _set(indexes: Iterable[int]) -> str:
    return f"{{ {', '.join(map(str, sorted(indexes)))} }}"
