"""The command without a daemon: what it says, where, and with which status."""

import configparser
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from arpfast import __version__
from arpfast.cli import cli
from arpfast.config import CONTROL_PATH

ROOT = Path(__file__).parents[2]
ARPFAST = Path(sys.executable).with_name("arpfast")
MANUAL = ROOT / "docs" / "arpfast.1"
UNIT = ROOT / "deploy" / "systemd" / "arpfast.service"


def arpfast(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ARPFAST_")}
    return subprocess.run(
        [ARPFAST, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**clean, **environment},
    )


def commands() -> Iterator[tuple[str, click.Command]]:
    yield "", cli
    yield from cli.commands.items()


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda value: str(value) if value else "arpfast")
def test_help_shows_an_example(name: str, command: click.Command) -> None:
    told = arpfast(*filter(None, [name]), "--help")
    assert told.returncode == 0
    assert told.stderr == ""
    assert f"Example:\n    arpfast {name}".rstrip() in told.stdout
    assert command.help


def test_manual_page_has_every_command_and_option() -> None:
    page = MANUAL.read_text().replace("\\-", "-")
    for name, command in commands():
        assert re.search(rf"^\.B (arpfast )?{name}$", page, re.MULTILINE) or not name, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for option in parameter.opts:
                    assert option in page, f"{name} {option}"
                if parameter.envvar:
                    assert str(parameter.envvar) in page
    assert f"arpfast {__version__}" in page
    assert CONTROL_PATH in page


def test_version_is_the_packages() -> None:
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert arpfast("--version").stdout == f"arpfast {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "arpfast: no such command 'rum'; did you mean 'run'?; see 'arpfast --help'"),
        (["run"], "arpfast: expected addresses or a settings file"),
        (["run", "--prob", "off", "192.0.2.1"], "Did you mean '--probe'?"),
        (["run", "--probe", "of", "192.0.2.1"], "'of' is not one of 'quick', 'rfc', 'off'"),
        (["run", "192.0.2.300"], "arpfast: command line: 192.0.2.300: expected an address"),
        (["run", "192.0.2.1/24"], "expected a prefix without host bits, as in 192.0.2.0/24"),
        (["run", "ff02::1"], "it holds multicast addresses"),
        (["run", "-c", "/nowhere/f.yaml"], "arpfast: /nowhere/f.yaml: cannot be read: no such file or directory"),
        (["run", "-i", "", "192.0.2.1"], "expected an interface name, glob or prefix, not ''"),
        (["run", "-i", "!", "192.0.2.1"], "expected an interface name, glob or prefix, not '!'"),
        (["explain"], "missing argument 'ADDRESS|SERVICE'"),
        (["completion", "fish"], "'fish' is not one of 'bash', 'zsh'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments: list[str], said: str) -> None:
    told = arpfast(*arguments)
    assert told.returncode == 2
    assert told.stdout == ""
    (line,) = told.stderr.splitlines()
    assert line.startswith("arpfast: ")
    assert said in line


@pytest.mark.parametrize("program", ["controller", "speaker"])
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--bogus"], 2, "no such option '--bogus'; see 'python -P -m"),
        (["--port", "x"], 2, "invalid value for '--port'"),
        (["--kubeconfig", "/nowhere/config"], 1, "/nowhere/config: cannot be read: no such file or directory"),
    ],
)
def test_so_it_is_of_the_programs_of_a_cluster(
    program: str, arguments: list[str], status: int, said: str, tmp_path: Path
) -> None:
    where = ["--node-name=a", "--ml-bindaddr=127.0.0.1", f"--control={tmp_path}/s", "--port=0", "--health-probe-port=0"]
    needed = where if program == "speaker" else []
    told = subprocess.run(
        [sys.executable, "-P", "-m", program, *needed, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert told.returncode == status
    line = told.stderr.splitlines()[-1]
    assert line.startswith(f"{program}: ")
    assert said in line
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([b"explain", b"\xff"], {}),
        ([b"run", b"-c", b"/\xff.yaml"], {}),
        ([b"check"], {b"ARPFAST_CONFIG": b"/\xff.yaml"}),
    ],
)
def test_what_is_no_text_is_refused(arguments: list[bytes], environment: dict[bytes, bytes]) -> None:
    told = subprocess.run(
        [os.fsencode(ARPFAST), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environb, **environment},
    )
    assert told.returncode == 2
    assert told.stderr.startswith("arpfast: expected utf-8 text, not '")
    assert "udcff" in told.stderr


def test_a_terminal_without_unicode_loses_letters_and_nothing_else() -> None:
    told = arpfast("check", "192.0.2.1", "-i", "nichts\u00e4hnliches", PYTHONIOENCODING="ascii")
    assert "nichts?hnliches" in told.stdout
    assert told.stderr == ""


def test_all_problems_of_a_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("adresses: []\nconflict: maybe\n")
    told = arpfast("run", "-c", str(path))
    assert told.returncode == 2
    assert told.stderr.splitlines() == [
        f"arpfast: {path}:1: adresses: unknown field; did you mean 'addresses'?",
        f"arpfast: {path}:2: conflict: expected defend, report or yield, not 'maybe'",
    ]
    checked = arpfast("check", ARPFAST_CONFIG=str(path))
    assert checked.returncode == 1
    assert "adresses: unknown field; did you mean 'addresses'?" in checked.stdout


@pytest.mark.parametrize("command", [["status"], ["explain", "192.0.2.1"], ["announce", "192.0.2.1"], ["reload"]])
def test_clients_say_that_no_daemon_runs(command: list[str], tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    said = f"arpfast: no daemon runs here: nobody listens on {path}; see 'arpfast run'\n"
    file = tmp_path / "f.yaml"
    file.write_text(f"control: {path}\n")
    for told in (
        arpfast(*command, "--control", path),
        arpfast(*command, ARPFAST_CONTROL=path),
        arpfast(*command, "-c", str(file)),
        arpfast(*command, ARPFAST_CONFIG=str(file)),
    ):
        assert (told.returncode, told.stderr, told.stdout) == (1, said, "")


def test_check_tells_what_would_fail(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = tmp_path / "f.yaml"
        path.write_text(
            f"addresses: [192.0.2.1]\ninterfaces: [nothere9]\nmetrics: 127.0.0.1:{taken.getsockname()[1]}\n"
        )
        told = arpfast("check", "-c", str(path), "--control", "/dev/null", "--user", "nobody-at-all", "--json")
    assert told.returncode == 1
    failed = {one["check"]: one for one in json.loads(told.stdout) if one["judgement"] == "fail"}
    assert {"interfaces", "control", "metrics"} <= set(failed)
    assert "nothing here matches nothere9" in failed["interfaces"]["told"]
    assert all(one["remedy"] for one in failed.values())
    table = arpfast("check", "-c", str(path), "--control", "/dev/null")
    assert "nothing here matches nothere9" in table.stdout
    assert "\x1b" not in table.stdout


def test_schema_is_json() -> None:
    assert json.loads(arpfast("schema").stdout)["properties"]["addresses"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_made_for_the_shell(shell: str) -> None:
    script = arpfast("completion", shell).stdout
    assert "_ARPFAST_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("arpfast ex", {"explain"}),
        ("arpfast run --probe ", {"quick", "rfc", "off"}),
        ("arpfast status --j", {"--json"}),
    ],
)
def test_bash_completes(line: str, expected: set[str]) -> None:
    words = line.split(" ")
    told = arpfast(_ARPFAST_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert {one.partition(",")[2] for one in told.stdout.split()} == expected


def test_interfaces_are_completed() -> None:
    told = arpfast(_ARPFAST_COMPLETE="bash_complete", COMP_WORDS="arpfast run -i l", COMP_CWORD="3")
    assert "plain,lo" in told.stdout.split()


def test_the_daemon_never_loads_what_only_people_need() -> None:
    code = "import sys, arpfast.cli, arpfast.daemon, arpfast.logs as l; l.logger('info', 'json');"
    code += "print({'rich', 'prometheus_client', 'pyroute2', 'arpfast.tables'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"


def test_systemd_unit_uses_the_command_as_it_is() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["ExecStart"] == "/usr/bin/arpfast run -c /etc/arpfast.yaml"
    assert service["ExecReload"] == "/usr/bin/arpfast reload"
    assert service["Type"] == "notify"
    assert f"/run/{service['RuntimeDirectory']}/control.sock" == CONTROL_PATH
    assert "CAP_NET_RAW" in service["AmbientCapabilities"].split()


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return  # a machine without systemd has no use for the unit either
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/arpfast", f'"{ARPFAST}"'))
    told = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
