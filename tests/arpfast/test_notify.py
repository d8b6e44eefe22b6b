import os
import socket
from pathlib import Path

import pytest

from arpfast.notify import Notifier


def test_speaks_to_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        notifier = Notifier()
        assert notifier.watchdog_s == 3
        assert "NOTIFY_SOCKET" not in os.environ
        notifier.ready("answering")
        notifier.reloading()
        notifier.watchdog()
        notifier.status("two addresses")
        notifier.stopping()
        assert manager.recv(999) == b"READY=1\nSTATUS=answering"
        first, second = manager.recv(999).split(b"\n")
        assert first == b"RELOADING=1"
        assert second.startswith(b"MONOTONIC_USEC=")
        assert int(second.partition(b"=")[2]) > 0
        assert manager.recv(999) == b"WATCHDOG=1"
        assert manager.recv(999) == b"STATUS=two addresses"
        assert manager.recv(999).startswith(b"STOPPING=1\n")
    notifier.watchdog()  # the manager is gone: no matter
    notifier.close()


def test_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"arpfast-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notifier = Notifier()
        notifier.watchdog()
        notifier.close()
        assert manager.recv(99) == b"WATCHDOG=1"


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    notifier = Notifier()
    assert notifier.watchdog_s is None
    notifier.ready("answering")


def test_a_watchdog_meant_for_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = Notifier()
    assert notifier.watchdog_s is None
    notifier.close()
