"""The `arpfast` command. What a command needs is imported when it runs: the daemon must start fast and stay small.

Exit status: 0 done; 1 it could not be done, or `check` found a failure; 2 wrong usage or wrong settings. Errors are
single lines on standard error.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import click

from arpfast import __version__
from arpfast.asking import COMMANDS, print_json
from arpfast.config import Backend, ConfigError, Format, Overrides, Probe, addresses
from arpfast.decode import closest
from arpfast.options import carry_out, example, fail, json_option, settings_options

if TYPE_CHECKING:
    from collections.abc import Sequence


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


def _overrides(
    interfaces: Sequence[str],
    backend: Backend | None,
    probe: Probe | None,
    control: str | None,
    log_format: Format | None,
    wanted: Sequence[str],
) -> Overrides:
    import os  # noqa: PLC0415

    return Overrides(
        addresses=addresses(wanted),
        interfaces=tuple(interfaces),
        backend=backend,
        probe=probe,
        control=os.path.abspath(control) if control else None,  # noqa: PTH100 (symlinks stay)
        log_format=log_format,
    )


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
             epilog=example("arpfast run -i eth0 192.0.2.10 2001:db8::10", "arpfast explain 192.0.2.10"))  # fmt: skip
@click.version_option(__version__, "-V", "--version", message="arpfast %(version)s")
def cli() -> None:
    """Answer ARP and NDP for addresses that no kernel owns."""


@cli.command(epilog=example("arpfast run -i eth0 192.0.2.10 192.0.2.20-192.0.2.29 2001:db8::/112",
                             "arpfast run -c /etc/arpfast.yaml"))  # fmt: skip
@settings_options
def run(
    path: str | None, interfaces: tuple[str, ...], backend: Backend | None, probe: Probe | None, user: str | None,
    name: str | None, log_format: Format | None, control: str | None, wanted: tuple[str, ...],
) -> None:  # fmt: skip
    """Answer until told to stop.

    Addresses are added to those of the settings file; an address of the command line is an own one, as in 'addresses'.
    Started as root, drops to a user with no more than what answering takes. SIGHUP reads the file again.
    """
    overrides = _overrides(interfaces, backend, probe, control, log_format, wanted)
    if path is None and not overrides.addresses:
        raise click.UsageError("expected addresses or a settings file, as in 'arpfast run -i eth0 192.0.2.10'")
    from arpfast import inforce, starting  # noqa: PLC0415

    try:
        starting.run(inforce.Place(path, overrides, user, name))
    except starting.CannotStart as error:
        raise click.ClickException(str(error)) from error


@cli.command(
    short_help="Say whether it would work here, and if not, why.",
    epilog=example("arpfast check -i eth0 192.0.2.10", "arpfast check -c /etc/arpfast.yaml --json"),
)
@settings_options
@json_option
def check(
    path: str | None, interfaces: tuple[str, ...], backend: Backend | None, probe: Probe | None, user: str | None,
    name: str | None, log_format: Format | None, control: str | None, wanted: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Say whether the settings would work on this machine, and if not, why.

    Takes what 'run' takes, and looks at everything that it would need: capabilities, interfaces, the user to become,
    the control socket, and who else would answer. Changes nothing. Exit status 1 if anything would fail.
    """
    del name
    from arpfast import machine  # noqa: PLC0415
    from arpfast.check import Finding, examine  # noqa: PLC0415
    from arpfast.config import Config, combine, load  # noqa: PLC0415

    try:
        overrides = _overrides(interfaces, backend, probe, control, log_format, wanted)
        config = combine(load(path) if path else Config(), overrides)
    except ConfigError as error:
        remedy = "correct it; the fields are described in docs/configuration.md"
        findings = [Finding("settings", "fail", line, remedy) for line in error.lines()]
    else:
        findings = [Finding("settings", "ok", path)] if path else []
        findings += examine(config, machine.look(config, path, user), user)
    if as_json:
        print_json(findings)
    else:
        from arpfast import tables  # noqa: PLC0415

        tables.show_findings(findings)
    if any(finding.judgement == "fail" for finding in findings):
        raise SystemExit(1)


for command in COMMANDS:
    cli.add_command(command)


@cli.command(
    short_help="Print the JSON Schema of the settings file.", epilog=example("arpfast schema > arpfast.schema.json")
)
def schema() -> None:
    """Print the JSON Schema of the settings file, for editors."""
    from arpfast.schema import schema as made  # noqa: PLC0415

    print_json(made())


@cli.command(
    short_help="Print completion for a shell.",
    epilog=example(
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


def main() -> None:
    """Run the command, turning every foreseen error into its line and status."""
    _want_text()
    try:
        carry_out(cli, "arpfast")
    except ConfigError as error:
        fail("arpfast", 2, *error.lines())
    except BrokenPipeError:
        _hang_up()
    except Exception as error:
        from arpfast.control import Refused, Unreachable  # noqa: PLC0415

        if not isinstance(error, Refused | Unreachable):
            raise
        fail("arpfast", 1, *str(error).splitlines())


def _want_text() -> None:
    """Refuse what no log and no reply could repeat, and let no output fail for the terminal's sake."""
    import os  # noqa: PLC0415

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    given = [value for name, value in os.environ.items() if name.startswith("ARPFAST_")]
    for text in (*sys.argv[1:], *given):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            fail("arpfast", 2, f"expected {sys.getfilesystemencoding()} text, not {text!r}")


def _hang_up() -> None:
    """Whoever read our output has left: nothing more to say, also not at exit."""
    import os  # noqa: PLC0415

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
