"""`python -P -m controller`: give addresses to Services of type LoadBalancer, until told to stop.

Exit status: 0 told to stop; 1 it could not be done; 2 wrong usage.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from arpfast import __version__, logs
from arpfast.options import carry_out
from controller.settings import OPTIONS, settings


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="arpfast %(version)s")
def main(**options: Any) -> None:
    """Give addresses of IPAddressPools to Services of type LoadBalancer.

    Of several replicas one gives addresses, and the others take over when it is gone.
    """
    from controller.running import run  # noqa: PLC0415 (half a second that --help need not take)

    chosen = settings(**options)
    try:
        status = asyncio.run(run(chosen, logs.logger(chosen.log_level, chosen.log_format)))
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    sys.exit(status)


for option in OPTIONS:
    option(main)


if __name__ == "__main__":
    carry_out(main, "controller", typed="python -P -m controller")
