"""Why an address is answered, or is not: the state of `Duties` put into words for one address. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpfast.inspection import ConflictRecord, Explanation, LinkExplanation, Phase
from arpfast.interfaces import kernel_addresses
from arpfast.spans import address_of

if TYPE_CHECKING:
    from arpfast.duties import Duties
    from arpfast.presence import Presence
    from arpfast.spans import Version


def explain(
    duties: Duties, version: Version, value: int, now: float, now_unix_s: float, *, shared: bool = False
) -> Explanation:
    """What becomes of the address on each interface, and why. `now` is on the clock of `duties`, `now_unix_s` the same
    moment for people. `shared`: it is among what a ring answers for, whoever of its members does.
    """
    own, proxied = duties.wanted(version, value)
    address = address_of(version, value)
    links = []
    for index, interface in sorted(duties.snapshot.items()):
        presence = duties.presences.get(index)
        if presence is not None:
            links.append(_on(presence, version, value, now, now_unix_s - now, _why_not(own or proxied, shared)))
            continue
        refusal = duties.settings.choice.refusal(interface)
        why = f"the interface is {refusal.value}" if refusal is not None else ""
        links.append(LinkExplanation(interface.name, index, Phase.ABSENT, why))
    kernel = tuple(i.name for i in duties.snapshot.values() if kernel_addresses([i]).find(version, value))
    return Explanation(str(address), own or proxied or shared, proxied and not own, kernel, tuple(links))


def _why_not(wanted: bool, shared: bool) -> str:
    """Why it is nothing on an interface that is used."""
    if wanted:
        return "wanted on other interfaces only"
    return "the ring has not given it to this host" if shared else "not among the addresses to answer for"


def _on(
    presence: Presence, version: Version, value: int, now: float, to_unix_s: float, why_not: str
) -> LinkExplanation:
    key = (version, value)
    interface = presence.interface
    held = presence.withheld.get(key)
    phase, why, since = Phase.ABSENT, "", None
    if presence.answering.find(*key):
        phase, since = Phase.ANSWERING, presence.since(key)
    elif presence.probing.find(*key):
        phase, why = Phase.PROBING, "being probed before it is used"
    elif presence.waiting.find(*key):
        phase, why = Phase.WAITING, "its turn to be probed has not come"
        if not interface.carrier:
            why = "the interface has no carrier"
        elif version == 6 and not interface.ipv6:
            why = "IPv6 does not run on the interface"
        elif version == 6 and not presence.groups_joined:
            why = "its solicited-node group is being joined"
    elif held is not None:
        phase, since = (Phase.YIELDED if held.yielded else Phase.TAKEN), held.since_s
        why = f"{held.mac.hex(':')} uses it"
    elif presence.proxying.find(*key):
        phase = Phase.PROXYING
    else:
        why = why_not
    return LinkExplanation(
        interface.name,
        interface.index,
        phase,
        why,
        since_unix_s=None if since is None else since + to_unix_s,
        taken_by=None if held is None else held.mac.hex(":"),
        retry_in_s=None if held is None or held.trying else max(0.0, round(held.retry_s - now, 1)),
        conflicts=tuple(
            ConflictRecord(c.mac.hex(":"), c.count, c.defended, c.first_s + to_unix_s, c.last_s + to_unix_s)
            for c in presence.conflicts.of(key)
        ),
        confirmed=presence.confirming.of(key),
    )
