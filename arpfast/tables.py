"""Tables for people, by rich. Imported by the commands that talk to the daemon, never by the daemon."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from arpfast.check import Finding

_ANSWERED = "answering", "proxying"
"""The phases in which an address is answered for."""
_STYLES = {
    "ok": "green", "warn": "yellow", "fail": "red",
    "answering": "green", "proxying": "green", "probing": "yellow", "waiting": "yellow", "taken": "red",
    "yielded": "red", "absent": "dim", "established": "green", "up": "green", "down": "red",
}  # fmt: skip
_PHASES = ("answering", "proxying", "probing", "waiting", "taken", "yielded")


def _console() -> Console:
    """Styles only on a terminal and without NO_COLOR; off a terminal nothing is cut to a guessed width."""
    if not sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False, color_system=None, width=10_000)
    return Console(
        highlight=False, markup=False, emoji=False, color_system=None if os.environ.get("NO_COLOR") else "auto"
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column, justify="right" if column in right else "left", overflow="fold", no_wrap=column in right
        )
    for row in rows:
        table.add_row(*row)
    return table


def _styled(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def _ago(unix_s: float | None) -> str:
    """`3 s ago`, in the largest unit that leaves at least two of it."""
    if unix_s is None:
        return ""
    seconds = max(0.0, time.time() - unix_s)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago" if seconds >= 10 else f"{seconds:.1f} s ago"


def _count(number: int) -> str:
    """Thousands apart; what a /64 holds as a power."""
    return f"{number:,}".replace(",", " ") if number < 10**12 else f"2^{number.bit_length() - 1}"


def show_findings(findings: Sequence[Finding]) -> None:
    """The outcome of `check`."""
    rows = [(one.check, _styled(one.judgement), Text(one.told), Text(one.remedy)) for one in findings]
    console = _console()
    console.print(_table(["check", "", "found", "what to do"], rows))
    failed = sum(one.judgement == "fail" for one in findings)
    warned = sum(one.judgement == "warn" for one in findings)
    told = f"{failed} would fail" if failed else "it would work"
    console.print(Text(told + (f", {warned} to think about" if warned else ""), style="red" if failed else "green"))


def show_status(status: dict[str, Any]) -> None:
    """What the daemon is at."""
    console = _console()
    config = status["config"]
    told = f"arpfast {status['version']}, pid {status['pid']}, started {_ago(status['started_unix_s'])}: "
    wanted = status["addresses"]
    told += f"{_count(wanted['own'])} own addresses, {_count(wanted['proxied'])} proxied"
    console.print(Text(told))
    loaded = f"config: {config['path'] or 'command line only'}, loaded {_ago(config['loaded_unix_s'])}"
    console.print(Text(loaded))
    if (stale := config["stale"]) is not None:
        console.print(Text(f"config: stale since {_ago(stale['since_unix_s'])}, the file was refused:", style="red"))
        for line in stale["errors"]:
            console.print(Text(f"  {line}"))
    if config["needs_restart"]:
        console.print(Text(f"after a restart only: {', '.join(config['needs_restart'])}", style="yellow"))
    judged = status["filter"]
    if judged["kind"] == "ebpf":
        told = f"filter: eBPF, {_count(judged['passed'])} frames let through, {_count(judged['foreign'])} not for us"
        if limited := judged["limited"] + judged["guard_limited"]:
            told += f", {_count(limited)} over the rate limit"
    else:
        told = "filter: classic, knows no addresses"
    console.print(Text(told))
    if not status["ready"]:
        console.print(Text("not everything is in force yet", style="yellow"))
    links = status["links"]
    phases = {phase: [link[phase] for link in links] for phase in _PHASES}
    columns = phases | {
        "replies": [link["verdicts"].get("reply", 0) for link in links],
        "conflicts": [link["verdicts"].get("conflict", 0) for link in links],
        "limited": [link["verdicts"].get("limited", 0) for link in links],
        "dropped": [link["drops"] for link in links],
    }
    # What is nothing everywhere says nothing
    columns = {name: found for name, found in columns.items() if any(found) or name in ("answering", "replies")}
    counts = [
        [Text(_count(found[at]), _STYLES.get(name, "")) for name, found in columns.items()] for at in range(len(links))
    ]
    rows = [[link["interface"], link["backend"] or "", *counts[at]] for at, link in enumerate(links)]
    if rows:
        console.print(_table(["interface", "answered by", *columns], rows, right=list(columns)))
        for link in links:
            if link["why"]:
                console.print(Text(f"{link['interface']}: {link['backend']}, since {link['why']}", style="dim"))
    else:
        console.print(Text("no interface that can be used; see 'arpfast check'", style="red"))
    if (bgp := status.get("bgp")) is not None:
        _show_sessions(console, bgp)


def _show_sessions(console: Console, bgp: dict[str, Any]) -> None:
    """The routers that are spoken with."""
    console.print(Text(f"BGP: {_count(bgp['routes'])} prefixes announced"))
    if bgp["trouble"]:
        console.print(Text(bgp["trouble"], style="red"))
    if bgp["leaving"]:
        console.print(Text("others are to come before this node", style="yellow"))
    rows = []
    for peer in bgp["peers"]:
        told, asked = peer["announced"], peer["asked"]
        told = _count(told) if told >= asked else f"{_count(told)} of {_count(asked)}"
        bfd = "" if peer["bfd"] == "none" else _styled(peer["bfd"])
        since, flaps = _ago(peer["since_unix_s"]), str(peer["flaps"] or "")
        rows.append((peer["peer"], Text(peer["address"]), str(peer["asn"]), _styled(peer["state"]), since, bfd, told,
                     flaps, Text(peer["why"])))  # fmt: skip
    columns = ["peer", "address", "AS", "session", "since", "BFD", "prefixes", "flaps", "why"]
    console.print(_table(columns, rows, right=["prefixes", "flaps"]))


def _show_routes(console: Console, routes: Sequence[dict[str, Any]]) -> None:
    """What peers are told of prefixes, or why they are not."""
    rows = []
    for route in routes:
        pref = "" if route["local_pref"] is None else str(route["local_pref"])
        state = _styled(route["state"]) if route["told"] else ""
        rows.append((route["prefix"], route["peer"], state, pref, " ".join(route["communities"]), Text(route["why"])))
    console.print(_table(["prefix", "peer", "session", "preference", "communities", "why not"], rows))


def show_explanation(told: dict[str, Any]) -> None:
    """What becomes of one address."""
    console = _console()
    links = told["links"]
    answered = [link for link in links if link["phase"] in _ANSWERED]
    routes = told.get("routes", [])
    shown = [link for link in links if link["phase"] != "absent"] if answered else links
    where = ", ".join(link["interface"] for link in answered)
    ring = told["ring"]
    if answered:
        how = "proxied" if told["proxied"] else "answered"
        console.print(Text(f"{told['address']} is {how} on {where}", style="green"))
    elif routes and not told["wanted"]:
        console.print(Text(f"{told['address']} is not answered, but announced by BGP"))
    elif not told["wanted"]:
        console.print(
            Text(f"{told['address']} is not answered: it is not among the addresses to answer for", style="red")
        )
    elif ring is not None and ring["owner"] is not None and not ring["ours"]:
        console.print(Text(f"{told['address']} is not answered here, but by {ring['owner']}"))
    else:
        console.print(Text(f"{told['address']} is not answered", style="red"))
    if ring is not None and ring["aside"]:
        console.print(Text(f"this member answers for nothing: {ring['aside']}", style="yellow"))
    if told["kernel_interfaces"]:
        console.print(Text(f"the kernel has it on {', '.join(told['kernel_interfaces'])}", style="yellow"))
    asked = told["last_asked"]
    if asked is not None:
        console.print(Text(f"last asked by {asked['mac']} on {asked['interface']}, {_ago(asked['unix_s'])}"))
    elif answered:
        console.print(Text("last asked: not lately"))
    rows = []
    for link in shown:
        why = link["why"]
        if link["retry_in_s"] is not None:
            why += f"; tried again in {link['retry_in_s']:.0f} s"
        confirmed = [f"{one['mac']} after {one['confirmed_ms']:.1f} ms" for one in link["confirmed"]]
        since = _ago(link["since_unix_s"])
        rows.append((link["interface"], _styled(link["phase"]), since, Text(why), ", ".join(confirmed)))
    if rows:
        console.print(_table(["interface", "phase", "since", "why", "confirmed by"], rows))
    if ring is not None:
        owner = "nobody" if ring["owner"] is None else f"{ring['owner']}{' (this member)' if ring['ours'] else ''}"
        console.print(Text(f"owned by {owner}, epoch {ring['epoch']}"))
        turns = [
            ("" if one["turn"] is None else str(one["turn"] + 1), one["member"], one["why"])
            for one in ring["succession"]
        ]
        console.print(_table(["turn", "member", "why"], turns))
    if routes:
        _show_routes(console, routes)
    for check in told["checks"]:
        console.print(
            Text(f"check {check['check']}: {check['state']}{check['last_failure'] and ', ' + check['last_failure']}")
        )
    for link in links:
        for one in link["conflicts"]:
            text = f"conflict on {link['interface']}: {one['mac']} used it in {one['frames']} frames, "
            text += f"last {_ago(one['last_unix_s'])}; defended {one['defended']} times"
            console.print(Text(text, style="red"))


def show_service(told: dict[str, Any]) -> None:
    """What becomes of a Service, and of each of its addresses."""
    console = _console()
    bgp = told["bgp"]
    if told["reason"] is not None:
        style = "" if bgp is not None and bgp["routes"] else "red"
        console.print(Text(f"{told['service']} is answered for by nobody: {told['reason']}", style=style))
    elif not told["addresses"]:
        console.print(Text(f"{told['service']} has no address", style="red"))
    for address in told["addresses"]:
        ring = address["ring"]
        owner = "nobody" if ring["owner"] is None else f"{ring['owner']}{' (this node)' if ring['ours'] else ''}"
        others = [service for service in address["services"] if service != told["service"]]
        shared = f", shared with {', '.join(others)}" if others else ""
        answered = any(link["phase"] in _ANSWERED for link in address["links"])
        silent = ", and not answered" if ring["ours"] and not answered else ""
        style = "red" if ring["owner"] is None or silent else "green"
        text = f"{told['service']} has {address['address']}, owned by {owner}{shared}{silent}"
        console.print(Text(text, style=style))
    turns = {one["member"]: one["turn"] for address in told["addresses"][:1] for one in address["ring"]["succession"]}
    rows = []
    for node in told["nodes"]:
        turn = "" if (found := turns.get(node["node"])) is None else str(found + 1)
        announced = [] if bgp is None else [_announced(bgp["nodes"], node["node"])]
        rows.append((turn, node["node"], ", ".join(node["why"]), *announced))
    rows.sort(key=lambda row: (not row[0], row))
    console.print(_table(["turn", "node", "what is against it", *(["by BGP"] if bgp is not None else [])], rows))
    if bgp is not None and bgp["routes"]:
        _show_routes(console, bgp["routes"])


def _announced(nodes: Mapping[str, str | None], node: str) -> str:
    """Whether a node announces a Service by BGP, or why not; empty where nothing is known of it."""
    return "" if node not in nodes else nodes[node] or "announced"


def show_ring(status: dict[str, Any]) -> None:
    """The members of the ring, as this one sees them."""
    console = _console()
    ring = status["ring"]
    if ring is None:
        console.print(Text("no ring: this host answers alone; see 'ring' in docs/configuration.md"))
        return
    here = sum(member["here"] for member in ring["members"])
    count = len(ring["members"]) + len(ring["missing"])
    told = f"{here} of {count} members here, election {ring['election']}, profile {ring['profile']}"
    console.print(Text(told))
    if not ring["settled"]:
        console.print(Text("this member stands aside until it has heard the others", style="yellow"))
    if not ring["quorum"]:
        console.print(Text("less than a quorum: nothing is answered", style="red"))
    if ring["unowned"]:
        console.print(Text(f"owned by nobody: {ring['unowned']}", style="red"))
    rows = []
    for member in ring["members"]:
        marks = [word for word in ("drained", "holding") if member[word]]
        rows.append(
            (
                Text(member["name"], style="bold" if member["me"] else ""),
                Text(member["gossip"], style="green" if member["here"] else "red"),
                Text("; ".join([member["why"], *marks])),
                _count(member["owned"]),
                Text(member["addresses"]),
            )
        )
    rows += [
        (Text(missing["target"]), Text("not heard", style="red"), Text(missing["why"]), "", Text(""))
        for missing in ring["missing"]
    ]
    console.print(_table(["member", "", "why", "owns", "addresses"], rows, right=["owns"]))


def show_timeline(moments: Sequence[dict[str, Any]]) -> None:
    """What happened, in order."""
    console = _console()
    rows = []
    for moment in moments:
        at = time.strftime("%H:%M:%S", time.localtime(moment["unix_s"])) + f".{int(moment['unix_s'] % 1 * 1000):03}"
        rows.append((at, moment["event"], moment["member"], Text(moment["addresses"]), Text(moment["why"])))
    console.print(_table(["time", "event", "member", "addresses", "why"], rows))
