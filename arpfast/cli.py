"""The `arpfast` command. What a command needs is imported when it runs: the daemon must start fast and stay small.

Exit status: 0 done; 1 it could not be done, or `check` found a failure; 2 wrong usage or wrong settings. Errors are
single lines on standard error.
"""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from arpfast import __version__
from arpfast.config import CONTROL_PATH, Backend, ConfigError, Format, Overrides, Probe, addresses
from arpfast.decode import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arpfast.control import Request

    Command = Callable[..., Any]

WATCH_S = 1.0


class Group(click.Group):
    """A group that knows what was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a name that is nearly right."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            hint = closest(args[0], self.commands)
            ctx.fail(f"no such command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)


def _interfaces(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    import socket  # noqa: PLC0415

    return [name for _, name in socket.if_nameindex() if name.startswith(typed)]


def _words(alias: Any) -> click.Choice[str]:
    return click.Choice(alias.__args__)


def _settings_options(command: Command) -> Command:
    """What `run` and `check` understand alike."""
    for option in reversed(
        (
            click.option(
                "-c", "--config", "path", metavar="FILE", envvar="ARPFAST_CONFIG", show_envvar=True,
                type=click.Path(dir_okay=False), help="Settings file (YAML).",
            ),
            click.option(
                "-i", "--interface", "interfaces", metavar="GLOB", multiple=True, shell_complete=_interfaces,
                help="Answer on these interfaces: a name, a glob, a prefix that they have, or any of these after '!'. "
                "May be repeated. Without it: all Ethernet-like ones that are up and not part of a bridge or bond.",
            ),
            click.option("--backend", type=_words(Backend), default="auto", show_default=True, help="How to answer."),
            click.option(
                "--probe", type=_words(Probe), help="Ask whether an address is taken before its use.  [default: quick]"
            ),
            click.option(
                "--user", metavar="NAME", envvar="ARPFAST_USER", show_envvar=True,
                help="User to become when started as root.  [default: arpfast if there is one, else nobody]",
            ),
            click.option(
                "--name", metavar="NAME", envvar="ARPFAST_NAME", show_envvar=True,
                help="What this member of the ring is called.  [default: the host's name]",
            ),
            click.option(
                "--log-format", type=_words(Format), envvar="ARPFAST_LOG_FORMAT", show_envvar=True,
                help="Log for people or as JSON.  [default: auto]",
            ),
            _control_option,
            click.argument("wanted", metavar="[ADDRESS|RANGE|PREFIX]...", nargs=-1),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def _control_option(command: Command) -> Command:
    return click.option(
        "--control", metavar="PATH", envvar="ARPFAST_CONTROL", show_envvar=True,
        type=click.Path(), help=f"Control socket.  [default: {CONTROL_PATH}]",
    )(command)  # fmt: skip


def _daemon_options(command: Command) -> Command:
    """Where the daemon is that a client is to ask."""
    option = click.option(
        "-c", "--config", "path", metavar="FILE", envvar="ARPFAST_CONFIG", show_envvar=True,
        type=click.Path(dir_okay=False), help="Settings file, for the control socket that it names.",
    )  # fmt: skip
    return _control_option(option(command))


def _json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")(command)


def _example(*lines: str) -> str:
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def _overrides(
    interfaces: Sequence[str],
    probe: Probe | None,
    control: str | None,
    log_format: Format | None,
    wanted: Sequence[str],
) -> Overrides:
    import os  # noqa: PLC0415

    return Overrides(
        addresses=addresses(wanted),
        interfaces=tuple(interfaces),
        probe=probe,
        control=os.path.abspath(control) if control else None,  # noqa: PTH100 (symlinks stay)
        log_format=log_format,
    )


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
             epilog=_example("arpfast run -i eth0 192.0.2.10 2001:db8::10", "arpfast explain 192.0.2.10"))  # fmt: skip
@click.version_option(__version__, "-V", "--version", message="arpfast %(version)s")
def cli() -> None:
    """Answer ARP and NDP for addresses that no kernel owns."""


@cli.command(epilog=_example("arpfast run -i eth0 192.0.2.10 192.0.2.20-192.0.2.29 2001:db8::/112",
                             "arpfast run -c /etc/arpfast.yaml"))  # fmt: skip
@_settings_options
def run(
    path: str | None, interfaces: tuple[str, ...], backend: Backend, probe: Probe | None, user: str | None,
    name: str | None, log_format: Format | None, control: str | None, wanted: tuple[str, ...],
) -> None:  # fmt: skip
    """Answer until told to stop.

    Addresses are added to those of the settings file; an address of the command line is an own one, as in 'addresses'.
    Started as root, drops to a user with no more than what answering takes. SIGHUP reads the file again.
    """
    del backend  # there is one
    overrides = _overrides(interfaces, probe, control, log_format, wanted)
    if path is None and not overrides.addresses:
        raise click.UsageError("expected addresses or a settings file, as in 'arpfast run -i eth0 192.0.2.10'")
    from arpfast import inforce, starting  # noqa: PLC0415

    try:
        starting.run(inforce.Place(path, overrides, user, name))
    except starting.CannotStart as error:
        raise click.ClickException(str(error)) from error


@cli.command(
    short_help="Say whether it would work here, and if not, why.",
    epilog=_example("arpfast check -i eth0 192.0.2.10", "arpfast check -c /etc/arpfast.yaml --json"),
)
@_settings_options
@_json_option
def check(
    path: str | None, interfaces: tuple[str, ...], backend: Backend, probe: Probe | None, user: str | None,
    name: str | None, log_format: Format | None, control: str | None, wanted: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Say whether the settings would work on this machine, and if not, why.

    Takes what 'run' takes, and looks at everything that it would need: capabilities, interfaces, the user to become,
    the control socket, and who else would answer. Changes nothing. Exit status 1 if anything would fail.
    """
    del backend, name
    from arpfast import machine  # noqa: PLC0415
    from arpfast.check import Finding, examine  # noqa: PLC0415
    from arpfast.config import Config, combine, load  # noqa: PLC0415

    try:
        overrides = _overrides(interfaces, probe, control, log_format, wanted)
        config = combine(load(path) if path else Config(), overrides)
    except ConfigError as error:
        remedy = "correct it; the fields are described in docs/configuration.md"
        findings = [Finding("settings", "fail", line, remedy) for line in error.lines()]
    else:
        findings = [Finding("settings", "ok", path)] if path else []
        findings += examine(config, machine.look(config, path, user), user)
    if as_json:
        _print_json(findings)
    else:
        from arpfast import tables  # noqa: PLC0415

        tables.show_findings(findings)
    if any(finding.judgement == "fail" for finding in findings):
        raise SystemExit(1)


@cli.command(
    short_help="Show what the daemon answers.", epilog=_example("arpfast status", "arpfast status --json | jq .links")
)
@_daemon_options
@_json_option
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
            _print_json(result, one_line=True)
            continue
        click.clear()  # does nothing off a terminal
        _show(table, result, as_json)


@cli.command(short_help="Say what becomes of an address, and why.", epilog=_example("arpfast explain 192.0.2.10"))
@click.argument("address")
@_daemon_options
@_json_option
def explain(address: str, path: str | None, control: str | None, as_json: bool) -> None:
    """Say what becomes of an address: answered or not, where, since when, and why.

    Also who asked for it last, who else claimed it, and which router confirmed that the path works.
    """
    from arpfast.control import Request  # noqa: PLC0415

    _show("show_explanation", _ask(path, control, Request("explain", address)), as_json)


@cli.command(
    short_help="Announce own addresses again, now.",
    epilog=_example("arpfast announce 192.0.2.10", "arpfast announce 192.0.2.0/24"),
)
@click.argument("address", metavar="ADDRESS|RANGE|PREFIX")
@_daemon_options
def announce(address: str, path: str | None, control: str | None) -> None:
    """Announce own addresses to the neighbours again, now."""
    from arpfast.control import Request  # noqa: PLC0415

    count = _ask(path, control, Request("announce", address))["announced"]
    click.echo(f"announcing {count} address{'' if count == 1 else 'es'}")


@cli.command(
    short_help="Hand all addresses over to the other members of the ring.",
    epilog=_example("arpfast drain", "arpfast drain --undo"),
)
@_daemon_options
@click.option("--undo", is_flag=True, help="Take part again.")
def drain(path: str | None, control: str | None, undo: bool) -> None:
    """Hand all addresses over to the other members of the ring, and take none until told otherwise.

    Nothing is lost on the way: who takes over answers before this member stops. It goes on answering for what no other
    member can take.
    """
    from arpfast.control import Request  # noqa: PLC0415

    held = _ask(path, control, Request("undrain" if undo else "drain"))["held"]
    click.echo("taking part again" if undo else f"handing over {held} address{'' if held == 1 else 'es'}")


@cli.command(
    short_help="Show what happened to the ring and its addresses.",
    epilog=_example("arpfast timeline", "arpfast timeline 192.0.2.10"),
)
@click.argument("address", required=False, default="")
@_daemon_options
@_json_option
def timeline(address: str, path: str | None, control: str | None, as_json: bool) -> None:
    """Show what happened to the ring, or to one address: who was suspected, silent, succeeded, and when."""
    from arpfast.control import Request  # noqa: PLC0415

    _show("show_timeline", _ask(path, control, Request("timeline", address)), as_json)


@cli.command(
    short_help="Have the daemon read its settings file again.",
    epilog=_example("arpfast reload", "systemctl reload arpfast"),
)
@_daemon_options
@_json_option
def reload(path: str | None, control: str | None, as_json: bool) -> None:
    """Have the daemon read its settings file again and apply what changed.

    A file with any problem is refused, each problem is told here, and the settings in force stay.
    """
    from arpfast.control import Request  # noqa: PLC0415

    result = _ask(path, control, Request("reload"))
    if as_json:
        _print_json(result)
        return
    what = [f"{result['added']} added, {result['removed']} removed"]
    what += [f"changed: {', '.join(result['changed'])}"] if result["changed"] else []
    what += [f"after a restart only: {', '.join(result['needs_restart'])}"] if result["needs_restart"] else []
    click.echo(f"reloaded: {'; '.join(what)}")


@cli.command(
    short_help="Print the JSON Schema of the settings file.", epilog=_example("arpfast schema > arpfast.schema.json")
)
def schema() -> None:
    """Print the JSON Schema of the settings file, for editors."""
    from arpfast.schema import schema as made  # noqa: PLC0415

    _print_json(made())


@cli.command(
    short_help="Print completion for a shell.",
    epilog=_example(
        "arpfast completion bash > /etc/bash_completion.d/arpfast",
        "arpfast completion zsh > /usr/local/share/zsh/site-functions/_arpfast",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete arpfast's commands and options."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, "arpfast", "_ARPFAST_COMPLETE").source())


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


def _print_json(value: Any, *, one_line: bool = False) -> None:
    import msgspec  # noqa: PLC0415

    encoded = msgspec.json.encode(value)
    click.echo(encoded if one_line else msgspec.json.format(encoded))


def _show(table: str, result: Any, as_json: bool) -> None:
    if as_json:
        _print_json(result)
        return
    from arpfast import tables  # noqa: PLC0415

    getattr(tables, table)(result)


def main() -> None:
    """Run the command, turning every foreseen error into its line and status."""
    _want_text()
    try:
        cli.main(prog_name="arpfast", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "arpfast"
        _fail(2, f"{error.format_message().rstrip('.')}; see '{command} --help'")
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _fail(1, error.format_message())
    except ConfigError as error:
        _fail(2, *error.lines())
    except BrokenPipeError:
        _hang_up()
    except Exception as error:
        from arpfast.control import Refused, Unreachable  # noqa: PLC0415

        if not isinstance(error, Refused | Unreachable):
            raise
        _fail(1, *str(error).splitlines())


def _want_text() -> None:
    """Refuse what no log and no reply could repeat, and let no output fail for the terminal's sake."""
    import os  # noqa: PLC0415

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    given = [value for name, value in os.environ.items() if name.startswith("ARPFAST_")]
    for text in (*sys.argv[1:], *given):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            _fail(2, f"expected {sys.getfilesystemencoding()} text, not {text!r}")


def _fail(status: int, *lines: str) -> None:
    for line in lines:
        print(f"arpfast: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(status)


def _hang_up() -> None:
    """Whoever read our output has left: nothing more to say, also not at exit."""
    import os  # noqa: PLC0415

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
