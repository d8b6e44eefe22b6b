"""What `deploy/` has for Kubernetes, applied to the lab's cluster as a user would apply it."""

from __future__ import annotations

import subprocess
from functools import cache
from typing import TYPE_CHECKING

import yaml

from lab.native import HERE
from lab.programs import KUBECTL
from lab.waiting import wait_until

if TYPE_CHECKING:
    from lab.api import Api, Json

FOLDER = HERE.parent / "deploy" / "kubernetes"
NAMESPACE = "metallb-system"
_FIRST = ("Namespace", "CustomResourceDefinition")


@cache
def render(overlay: str = "base") -> list[Json]:
    """The objects of `kubectl kustomize deploy/kubernetes/<overlay>`: namespace and definitions first."""
    done = subprocess.run([KUBECTL.path(), "kustomize", FOLDER / overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    things = [thing for thing in yaml.safe_load_all(done.stdout) if thing]
    return sorted(things, key=lambda thing: _FIRST.index(thing["kind"]) if thing["kind"] in _FIRST else len(_FIRST))


def install(api: Api, overlay: str = "base") -> None:
    """Apply them, and wait until the custom resources are served."""
    for thing in render(overlay):
        api.apply(thing)
        if thing["kind"] == "CustomResourceDefinition":
            name = thing["metadata"]["name"]
            wait_until(lambda name=name: _established(api, name), what=f"{name} to be served", every_ms=10)


def _established(api: Api, name: str) -> bool:
    conditions = api.get("customresourcedefinitions", name)["status"].get("conditions", ())
    wrong = [each["message"] for each in conditions if each["type"] == "NonStructuralSchema"]
    assert not wrong, wrong
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
