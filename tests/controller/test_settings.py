"""Flags and variables: MetalLB's names, ours first, and what nobody said."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from cluster import flags
from controller import __main__ as command
from controller.settings import Settings

MANIFEST = {
    "METALLB_NAMESPACE": "lb",
    "METALLB_POD_NAME": "controller-x",
    "METALLB_ML_SECRET_NAME": "memberlist",
    "METALLB_DEPLOYMENT": "controller",
}


@pytest.fixture(autouse=True)
def _no_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(flags, "NAMESPACE_FILE", tmp_path / "namespace")


def chosen(monkeypatch: pytest.MonkeyPatch, *typed: str, env: dict[str, str] | None = None) -> Settings:
    """What the command makes of it."""
    found: list[Settings] = []

    async def run(settings: Settings, _log: object) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr("controller.running.run", run)
    result = CliRunner(env=env or {}).invoke(command.main, typed)
    assert result.exit_code == 0, result.output
    return found[0]


def test_what_nobody_said(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = chosen(monkeypatch)
    assert (settings.namespace, settings.pod, settings.secret, settings.lb_class) == (flags.NAMESPACE, "", "", "")
    assert (settings.port, settings.health_port) == (9120, 17472)
    assert (settings.webhook_port, settings.webhook_service) == (9443, "metallb-webhook-service")
    assert settings.identity
    assert (settings.cool_down_s, settings.balance_pools) == (0.0, False)


def test_metallbs_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = chosen(monkeypatch, "--port=7472", "--log-level=debug", "--lb-class=x", env=MANIFEST)
    assert settings == Settings(
        namespace="lb", pod="controller-x", identity="controller-x", deployment="controller", secret="memberlist",
        port=7472, log_level="debug", lb_class="x",
    )  # fmt: skip


def test_no_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, "--webhook-mode=disabled").webhook_port == 0


def test_ours_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, env={**MANIFEST, "ARPFAST_NAMESPACE": "ours"}).namespace == "ours"
    settings = chosen(monkeypatch, env={"ARPFAST_COOL_DOWN": "60", "ARPFAST_BALANCE_POOLS": "1"})
    assert (settings.cool_down_s, settings.balance_pools) == (60.0, True)


def test_the_pods_own_namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "namespace").write_text("own\n")
    assert chosen(monkeypatch).namespace == "own"


@pytest.mark.parametrize("typed", ["--port=65536", "--cool-down=-1", "--log-level=all", "--webhook-mode=onlywebhook"])
def test_what_is_no_setting(typed: str) -> None:
    assert CliRunner().invoke(command.main, [typed]).exit_code == 2


def test_what_cannot_start() -> None:
    result = CliRunner().invoke(command.main, ["--kubeconfig=/nowhere/config"])
    assert result.exit_code == 1
    assert "/nowhere/config" in result.output
