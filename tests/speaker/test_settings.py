"""Flags and variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from arpfast.interfaces import Choice, Interface, Refusal
from arpfast.listen import Listen
from speaker.__main__ import main
from speaker.nodes import Rules
from speaker.settings import OPTIONS, Settings, excluded, settings

if TYPE_CHECKING:
    from pathlib import Path

NEEDED = {"METALLB_NODE_NAME": "a", "METALLB_ML_BIND_ADDR": "10.0.0.1"}


def given(*arguments: str, **variables: str) -> Settings:
    found: list[Settings] = []

    @click.command()
    def command(**options: object) -> None:
        found.append(settings(**options))  # type: ignore[arg-type]

    for option in OPTIONS:
        option(command)
    result = CliRunner().invoke(command, arguments, env={**NEEDED, **variables}, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return found[0]


def test_the_defaults_are_metallbs() -> None:
    found = given("--exclude-interfaces", "/nonexistent")
    assert (found.node, found.address, found.port) == ("a", "10.0.0.1", 7946)
    assert (found.metrics, found.health) == (Listen("", 9120), Listen("127.0.0.1", 17472))
    assert found.rules == Rules()
    assert found.choice == Choice()
    assert found.announce.probe == "off"
    ring = found.ring(["10.0.0.2"])
    assert (ring.members, ring.election) == (("10.0.0.1", "10.0.0.2"), "metallb")


def test_flags_and_variables() -> None:
    found = given(
        *("--port", "0", "--health-probe-port", "1234", "--ignore-exclude-lb", "--lb-class", "ours"),
        *("--avoid-cordoned", "--avoid-out-of-service", "--probe", "rfc", "--with-metallb", "--log-level=warn"),
        METALLB_ML_LABELS="app=metallb",
        ARPFAST_NODE_NAME="b",
        ARPFAST_PROFILE="fast",
        METALLB_ML_SECRET_KEY_PATH="/etc/key",
    )
    assert (found.metrics, found.health) == (None, Listen("127.0.0.1", 1234))
    assert found.rules == Rules(True, True, True)
    assert (found.labels, found.node, found.profile, found.lb_class) == ("app=metallb", "b", "fast", "ours")
    assert found.log_level == "warning"
    assert (found.secrets, found.announce.probe, found.with_metallb) == ("/etc/key", "rfc", True)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"METALLB_NODE_NAME": ""}, "node-name"),
        ({"METALLB_ML_BIND_ADDR": "nonsense"}, "expected an address of this node as --ml-bindaddr, not 'nonsense'"),
        ({"ARPFAST_PROFILE": "hasty"}, "'hasty' is not one of"),
    ],
)
def test_refused(variables: dict[str, str], said: str) -> None:
    result = CliRunner().invoke(main, [], env={**NEEDED, **variables})
    assert result.exit_code == 2
    assert said in result.output


def test_interfaces_that_are_excluded(tmp_path: Path) -> None:
    file = tmp_path / "excludel2.yaml"
    file.write_text("announcedInterfacesToExclude: ['^veth.*', 'cni']\n")
    choice = given("--exclude-interfaces", str(file)).choice

    def refusal(name: str) -> Refusal | None:
        return choice.refusal(Interface(1, name, mac=b"\2\0\0\0\0\1", up=True))

    assert [refusal(name) for name in ("eth0", "myveth", "veth1", "mycni0")] == [
        None, None, Refusal.NOT_NAMED, Refusal.NOT_NAMED,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("announcedInterfacesToExclude: eth0", "expected a list of regular expressions"),
        ("- eth0", "expected a list of regular expressions"),
        ("announcedInterfacesToExclude: ['(']", r"expected a regular expression, not '\('"),
        ("a: b: c", "cannot be read"),
    ],
)
def test_a_file_of_excluded_interfaces_that_says_something_else(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "excludel2.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        excluded(str(file))


def test_an_empty_file_excludes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "excludel2.yaml"
    file.write_text("")
    assert excluded(str(file)) == ()
