"""The commands that ask a daemon which runs, through its control socket, and show what it says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from arpfast.config import CONTROL_PATH
from arpfast.options import daemon_options, example, json_option

if TYPE_CHECKING:
    from arpfast.control import Request

WATCH_S = 1.0


@click.command(
    short_help="Show what the daemon answers.", epilog=example("arpfast status", "arpfast status --json | jq .links")
)
@daemon_options
@json_option
@click.option("--watch", is_flag=True, help="Show it again every second, until interrupted.")
@click.option("--ring", is_flag=True, help="Show the ring: its members, who owns what, and why.")
def status(path: str | None, control: str | None, as_json: bool, watch: bool, ring: bool) -> None:
    """Show what the daemon answers, interface by interface; or its ring, member by member."""
    from arpfast.control import Request  # noqa: PLC0415

    table = "show_ring" if ring else "show_status"
    if not watch:
        _show(table, _ask(path, control, Request("status")), as_json)
        return
    for result in _ask_again(path, control, Request("status")):
        if as_json:
            print_json(result, one_line=True)
            continue
        click.clear()  # does nothing off a terminal
        _show(table, result, as_json)


@click.command(
    short_help="Say what becomes of an address, or of a Service, and why.",
    epilog=example("arpfast explain 192.0.2.10", "arpfast explain -n shop web"),
)
@click.argument("address", metavar="ADDRESS|SERVICE")
@click.option("-n", "--namespace", metavar="NAME", default="", help="In a cluster: that of the Service.")
@daemon_options
@json_option
def explain(address: str, namespace: str, path: str | None, control: str | None, as_json: bool) -> None:
    """Say what becomes of an address: answered or not, where, since when, and why.

    Also who asked for it last, who else claimed it, and which router confirmed that the path works. With a namespace,
    say it of each address of a Service, and what keeps which node from answering for it; any node's speaker knows.
    """
    from arpfast.control import Request  # noqa: PLC0415

    if namespace:
        found = _ask(path, control, Request("explain", address, namespace))
        _show("show_service", found, as_json)
        return
    _show("show_explanation", _ask(path, control, Request("explain", address)), as_json)


@click.command(
    short_help="Announce own addresses again, now.",
    epilog=example("arpfast announce 192.0.2.10", "arpfast announce 192.0.2.0/24"),
)
@click.argument("address", metavar="ADDRESS|RANGE|PREFIX")
@daemon_options
def announce(address: str, path: str | None, control: str | None) -> None:
    """Announce own addresses to the neighbours again, now."""
    from arpfast.control import Request  # noqa: PLC0415

    count = _ask(path, control, Request("announce", address))["announced"]
    click.echo(f"announcing {count} address{'' if count == 1 else 'es'}")


@click.command(
    short_help="Hand all addresses over to the other members of the ring.",
    epilog=example("arpfast drain", "arpfast drain --undo"),
)
@daemon_options
@click.option("--undo", is_flag=True, help="Take part again.")
def drain(path: str | None, control: str | None, undo: bool) -> None:
    """Hand all addresses over to the other members of the ring, and take none until told otherwise.

    Nothing is lost on the way: who takes over answers before this member stops. It goes on answering for what no other
    member can take.
    """
    from arpfast.control import Request  # noqa: PLC0415

    held = _ask(path, control, Request("undrain" if undo else "drain"))["held"]
    click.echo("taking part again" if undo else f"handing over {held} address{'' if held == 1 else 'es'}")


@click.command(
    short_help="Show what happened to the ring and its addresses.",
    epilog=example("arpfast timeline", "arpfast timeline 192.0.2.10"),
)
@click.argument("address", required=False, default="")
@daemon_options
@json_option
def timeline(address: str, path: str | None, control: str | None, as_json: bool) -> None:
    """Show what happened to the ring, or to one address: who was suspected, silent, succeeded, and when."""
    from arpfast.control import Request  # noqa: PLC0415

    _show("show_timeline", _ask(path, control, Request("timeline", address)), as_json)


@click.command(
    short_help="Have the daemon read its settings file again.",
    epilog=example("arpfast reload", "systemctl reload arpfast"),
)
@daemon_options
@json_option
def reload(path: str | None, control: str | None, as_json: bool) -> None:
    """Have the daemon read its settings file again and apply what changed.

    A file with any problem is refused, each problem is told here, and the settings in force stay.
    """
    from arpfast.control import Request  # noqa: PLC0415

    result = _ask(path, control, Request("reload"))
    if as_json:
        print_json(result)
        return
    what = [f"{result['added']} added, {result['removed']} removed"]
    what += [f"changed: {', '.join(result['changed'])}"] if result["changed"] else []
    what += [f"after a restart only: {', '.join(result['needs_restart'])}"] if result["needs_restart"] else []
    click.echo(f"reloaded: {'; '.join(what)}")


def _socket(path: str | None, control: str | None) -> str:
    if control or not path:
        return control or CONTROL_PATH
    from arpfast.config import load  # noqa: PLC0415

    return load(path).control


def _ask(path: str | None, control: str | None, request: Request) -> Any:
    from arpfast.control import Client  # noqa: PLC0415

    with Client(_socket(path, control)) as client:
        return client.ask(request)


def _ask_again(path: str | None, control: str | None, request: Request) -> Any:
    from arpfast.control import Client  # noqa: PLC0415

    with Client(_socket(path, control)) as client:
        while True:
            yield client.ask(request)
            time.sleep(WATCH_S)


def print_json(value: Any, *, one_line: bool = False) -> None:
    import msgspec  # noqa: PLC0415

    encoded = msgspec.json.encode(value)
    click.echo(encoded if one_line else msgspec.json.format(encoded))


def _show(table: str, result: Any, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    from arpfast import tables  # noqa: PLC0415

    getattr(tables, table)(result)


COMMANDS = (status, explain, announce, drain, timeline, reload)
