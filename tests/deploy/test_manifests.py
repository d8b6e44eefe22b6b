"""What `deploy/` has for Kubernetes, as far as it can be judged without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import custom_resources as resources

KUBERNETES = Path(resources.__file__).parent / "kubernetes"
KINDS = [definition["spec"]["names"]["plural"] for definition in resources.ALL]


@pytest.mark.parametrize("definition", resources.ALL, ids=KINDS)
def test_the_file_is_what_the_table_says(definition: dict[str, Any]) -> None:
    path = resources.FOLDER / f"{definition['spec']['names']['plural']}.yaml"
    assert path.read_text() == resources.written(definition), "python -m deploy.custom_resources writes it anew"


def test_every_definition_is_applied() -> None:
    listed = yaml.safe_load((resources.FOLDER / "kustomization.yaml").read_text())["resources"]
    assert listed == sorted(f"{kind}.yaml" for kind in KINDS)
    assert {path.name for path in resources.FOLDER.iterdir()} == {*listed, "kustomization.yaml"}


def test_what_is_applied_again_changes_nothing() -> None:
    """Lists are compared as a whole: one that the API server completes or strips of what is empty always differs."""
    empty: list[str] = []

    def walk(thing: Any, path: str) -> None:
        if isinstance(thing, dict | list):
            pairs = thing.items() if isinstance(thing, dict) else enumerate(thing)
            for name, part in pairs:
                if part in ({}, []) and not path.endswith(".subresources"):
                    empty.append(f"{path}.{name}")
                walk(part, f"{path}.{name}")

    for definition in resources.ALL:
        walk(definition["spec"], definition["spec"]["names"]["plural"])
    assert not empty
    things = yaml.safe_load_all((KUBERNETES / "base" / "webhook.yaml").read_text())
    (webhooks,) = (thing["webhooks"] for thing in things if "webhooks" in thing)
    assert {rule.get("scope") for each in webhooks for rule in each["rules"]} == {"*"}


def test_everything_that_a_user_may_set_is_explained() -> None:
    """By `kubectl explain`. Parts of lists are explained by their list."""
    unexplained: list[str] = []

    def walk(schema: dict[str, Any], path: str) -> None:
        for name, field in schema.get("properties", {}).items():
            if not field.get("description"):
                unexplained.append(f"{path}.{name}")
            walk(field, f"{path}.{name}")
            walk(field.get("items", {}), f"{path}.{name}[]")

    for definition in resources.ALL:
        for version in definition["spec"]["versions"]:
            properties = version["schema"]["openAPIV3Schema"]["properties"]
            walk({"properties": {part: properties[part] for part in ("spec", "status") if part in properties}}, "")
    assert unexplained == []


def workload(file: str) -> dict[str, Any]:
    """The Pod that a Deployment or DaemonSet makes."""
    whole: list[dict[str, Any]] = list(yaml.safe_load_all((KUBERNETES / "base" / file).read_text()))
    pod: dict[str, Any] = whole[-1]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(("file", "added"), [("controller.yaml", None), ("speaker.yaml", ["NET_RAW"])])
def test_a_pod_has_no_right_that_it_does_not_need(file: str, added: list[str] | None) -> None:
    pod = workload(file)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"], **({"add": added} if added else {})}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_secrets_are_read_by_name_only() -> None:
    for thing in yaml.safe_load_all((KUBERNETES / "base" / "rights.yaml").read_text()):
        for rule in thing.get("rules", ()):
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["create"] or len(rule["resourceNames"]) == 1
