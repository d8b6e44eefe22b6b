"""What the commands have in common on the command line: options, the example that ends each help, how they fail."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from arpfast.config import CONTROL_PATH, INTERFACE, Backend, Format, Probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    Command = Callable[..., Any]


def _interfaces(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    import socket  # noqa: PLC0415

    return [name for _, name in socket.if_nameindex() if name.startswith(typed)]


def _patterns(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    import re  # noqa: PLC0415

    for pattern in given:
        if re.search(INTERFACE, pattern) is None:
            raise click.BadParameter(f"expected an interface name, glob or prefix, not {pattern!r}")
    return given


def words(alias: Any) -> click.Choice[str]:
    return click.Choice(alias.__args__)


def settings_options(command: Command) -> Command:
    """What `run` and `check` understand alike."""
    for option in reversed(
        (
            click.option(
                "-c", "--config", "path", metavar="FILE", envvar="ARPFAST_CONFIG", show_envvar=True,
                type=click.Path(dir_okay=False), help="Settings file (YAML).",
            ),
            click.option(
                "-i", "--interface", "interfaces", metavar="GLOB", multiple=True, shell_complete=_interfaces,
                callback=_patterns,
                help="Answer on these interfaces: a name, a glob, a prefix that they have, or any of these after '!'. "
                "May be repeated. Without it: all Ethernet-like ones that are up and not part of a bridge or bond.",
            ),
            click.option(
                "--backend", type=words(Backend), help="Who answers, as 'backend' in the file.  [default: auto]"
            ),
            click.option(
                "--probe", type=words(Probe), help="Ask whether an address is taken before its use.  [default: quick]"
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
                "--log-format", type=words(Format), envvar="ARPFAST_LOG_FORMAT", show_envvar=True,
                help="Log for people or as JSON.  [default: auto]",
            ),
            control_option,
            click.argument("wanted", metavar="[ADDRESS|RANGE|PREFIX]...", nargs=-1),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def control_option(command: Command) -> Command:
    return click.option(
        "--control", metavar="PATH", envvar="ARPFAST_CONTROL", show_envvar=True,
        type=click.Path(), help=f"Control socket.  [default: {CONTROL_PATH}]",
    )(command)  # fmt: skip


def daemon_options(command: Command) -> Command:
    """Where the daemon is that a client is to ask."""
    option = click.option(
        "-c", "--config", "path", metavar="FILE", envvar="ARPFAST_CONFIG", show_envvar=True,
        type=click.Path(dir_okay=False), help="Settings file, for the control socket that it names.",
    )  # fmt: skip
    return control_option(option(command))


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")(command)


def example(*lines: str) -> str:
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def carry_out(command: click.Command, name: str, typed: str | None = None) -> None:
    """Run a program, whose errors become one line and its exit status: 1 it could not be done, 2 wrong usage.

    `name` begins the line; `typed` is what runs the program, if it is more than that.
    """
    try:
        command.main(prog_name=typed or name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        message = error.format_message().rstrip(".")
        path = error.ctx.command_path if error.ctx else typed or name
        fail(name, 2, f"{message[:1].lower()}{message[1:]}; see '{path} --help'")
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        fail(name, 1, error.format_message())


def fail(name: str, status: int, *lines: str) -> NoReturn:
    """Say why on standard error, and exit."""
    for line in lines:
        print(f"{name}: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(status)
