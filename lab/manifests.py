"""What `deploy/` has for Kubernetes, applied to the lab's cluster as a user would apply it."""

from __future__ import annotations

import subprocess
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import yaml

from lab.api import ApiError
from lab.native import HERE
from lab.programs import KUBECTL
from lab.waiting import wait_until

if TYPE_CHECKING:
    from lab.api import Api, Json

FOLDER = HERE.parent / "deploy" / "kubernetes"
NAMESPACE = "metallb-system"
WEBHOOKS = "ValidatingWebhookConfiguration"
_FIRST = ("Namespace", "CustomResourceDefinition")


@cache
def render(overlay: str = "base") -> list[Json]:
    """The objects of `kubectl kustomize deploy/kubernetes/<overlay>`: namespace and definitions first."""
    done = subprocess.run([KUBECTL.path(), "kustomize", FOLDER / overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    things = [thing for thing in yaml.safe_load_all(done.stdout) if thing]
    return sorted(things, key=lambda thing: _FIRST.index(thing["kind"]) if thing["kind"] in _FIRST else len(_FIRST))


def install(api: Api, overlay: str = "base") -> None:
    """Apply them, but for the webhooks, and wait until the custom resources are served: as long as no controller runs,
    every change would be refused.
    """
    things = render(overlay)
    for thing in things:
        if thing["kind"] != WEBHOOKS:
            api.apply(thing)
    for definition in (thing for thing in things if thing["kind"] == "CustomResourceDefinition"):
        for version in definition["spec"]["versions"]:
            path = f"/apis/{definition['spec']['group']}/{version['name']}/{definition['spec']['names']['plural']}"
            wait_until(partial(_served, api, path), what=f"{path} to be served", every_ms=20)


def _served(api: Api, path: str) -> bool:
    try:
        api.call("GET", path)
    except ApiError as error:
        if error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS}:
            return False
        raise
    return True
