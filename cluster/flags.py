"""What the flags of a cluster's programs have in common: a variable of ours and one of MetalLB's, and where we are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
NAMESPACE = "metallb-system"


def option(*names: str, env: str = "", metallb: str = "", **fields: Any) -> Callable[..., Any]:
    """A click option that is also ARPFAST_ and its name in capitals, or `env`; and METALLB_ and `metallb`."""
    ours = f"ARPFAST_{env or names[0].removeprefix('--').replace('-', '_').upper()}"
    variables = [ours, *([f"METALLB_{metallb}"] if metallb else [])]
    return click.option(*names, envvar=variables, show_envvar=True, show_default=bool(fields.get("default")), **fields)


def own_namespace() -> str:
    """The Pod's, or MetalLB's if we are in none."""
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except OSError:
        return NAMESPACE
