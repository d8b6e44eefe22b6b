"""The client as far as it needs no server: where it looks, and what it makes of a refusal."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from cluster.client import Client, _error, retry_after_s

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.refusal import ApiError


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0), ("7", 7), ("0", 0), ("-1", 0), ("soon", 0), ("1.5", 0), ("٣", 0), ("9" * 20, 0)]
)
def test_retry_after_in_seconds(text: str, expected: float) -> None:
    assert retry_after_s(text) == expected


def test_retry_after_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3000 < retry_after_s(later) <= 3600
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT") == 0


def refused(code: int, body: object, **headers: str) -> ApiError:
    text = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return _error("patch services/status shop/web", code, headers, text)


def test_a_refusal_says_what_was_asked_and_why() -> None:
    error = refused(403, {"kind": "Status", "reason": "Forbidden", "message": "services is forbidden", "code": 403})
    assert str(error) == "patch services/status shop/web: 403 Forbidden: services is forbidden"
    assert not error.conflict


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"\xff\xfe", b"[]", b"7"])
def test_a_refusal_that_is_no_status(body: bytes) -> None:
    assert str(refused(502, body)).startswith("patch services/status shop/web: 502")


def test_a_long_message_is_cut_short() -> None:
    assert len(str(refused(422, {"message": "x" * 100_000}))) < 1000


@pytest.mark.parametrize(
    ("code", "message", "what"),
    [
        (409, "", "conflict"),
        (404, "", "absent"),
        (410, "", "expired"),
        (504, "Timeout: Too large resource version: 9, current: 7", "expired"),
    ],
)
def test_what_a_refusal_means(code: int, message: str, what: str) -> None:
    error = refused(code, {"message": message})
    assert [each for each in ("conflict", "absent", "expired") if getattr(error, each)] == [what]


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: cannot be read: no such file or directory"):
        asyncio.run(Client.connect(str(tmp_path / "nowhere")))


NAMED = "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a, user: {}}]\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a kubeconfig: a mapping with clusters, users and contexts"),
        ("5", "expected a kubeconfig: a mapping with clusters, users and contexts"),
        ("{", "expected YAML: "),
        ("\0", "expected YAML: "),
        ("{}", "invalid kube-config file"),
        ("current-context: a\ncontexts: 5", "expected a kubeconfig: "),
        (f"{NAMED}clusters: [{{name: a, cluster: {{server: 5}}}}]", "expected a kubeconfig: "),
        (f"{NAMED}clusters: [{{name: a, cluster: {{certificate-authority-data: aGk=, server: 'https://[::1]:1'}}}}]",
         "its certificates or its key cannot be used: "),
    ],
)  # fmt: skip
def test_a_kubeconfig_that_says_something_else(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path}: {told}"):
        asyncio.run(Client.connect(str(path)))


def test_who_is_in_no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ValueError, match="the Pod's ServiceAccount: service host/port is not set"):
        asyncio.run(Client.connect())
