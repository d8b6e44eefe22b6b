"""The speaker's command: `python -P -m speaker`. Exit status: 1 it could not be done, 2 wrong usage."""

from __future__ import annotations

from typing import Any

import click

from arpfast import __version__
from arpfast.options import carry_out
from speaker.settings import OPTIONS, settings
from speaker.starting import CannotStart, run


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="arpfast %(version)s")
def main(**given: Any) -> None:
    """Answer for the addresses of Services on this node, as far as the speakers agree that it should."""
    try:
        run(settings(**given))
    except CannotStart as error:
        raise click.ClickException(str(error)) from error


for option in OPTIONS:
    option(main)


def cli() -> None:
    """Run the command, turning every foreseen error into its line and status."""
    carry_out(main, "speaker", typed="python -P -m speaker")


if __name__ == "__main__":
    cli()
