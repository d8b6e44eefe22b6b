"""The settings of checks, and what a row of answers makes of one."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arpfast.config import READERS, Hook
from arpfast.decode import decode
from arpfast.health import Check, Endpoint, Health, State, Url
from arpfast.schema import _schema
from arpfast.seconds import Seconds
from arpfast.spans import Spans
from arpfast.yamltree import Problem, parse


class File(msgspec.Struct, frozen=True):
    checks: tuple[Check, ...] = ()
    on_change: tuple[Hook, ...] = ()


def read(text: str) -> tuple[Any, list[str]]:
    problems: list[Problem] = []
    node = parse(text.encode())
    assert node is not None
    found = decode(node, msgspec.inspect.type_info(File), "", READERS, problems)
    return found, [f"{line}: {field}: {message}" for line, field, message in problems]


def valid(text: str) -> bool:
    """Whether an editor would take it."""
    schema = json.loads(json.dumps(_schema(msgspec.inspect.type_info(File))))
    jsonschema.Draft202012Validator.check_schema(schema)
    try:
        jsonschema.validate(yaml.safe_load(text), schema)
    except jsonschema.ValidationError:
        return False
    return True


GOOD = """
checks:
- addresses: [192.0.2.10, "2001:db8::/112"]
  http: https://[::1]/health?deep=1
  host: www.example.com
  verify: false
  interval: 5s
  timeout: 500ms
  rise: 1
  fall: 5
- {addresses: [192.0.2.11], tcp: "localhost:25"}
- {addresses: [192.0.2.12], command: [/usr/lib/check, "--all"]}
on_change:
- {command: [/usr/local/bin/told], timeout: 3s}
"""


def test_every_field_is_read() -> None:
    found, problems = read(GOOD)
    assert problems == []
    assert found == File(
        checks=(
            Check(
                addresses=Spans.parse("192.0.2.10", "2001:db8::/112"),
                http=Url(secure=True, server=Endpoint("::1", 443), target="/health?deep=1"),
                host="www.example.com",
                verify=False,
                interval_s=Seconds(5),
                timeout_s=Seconds(0.5),
                rise=1,
                fall=5,
            ),
            Check(addresses=Spans.parse("192.0.2.11"), tcp=Endpoint("localhost", 25)),
            Check(addresses=Spans.parse("192.0.2.12"), command=("/usr/lib/check", "--all")),
        ),
        on_change=(Hook(("/usr/local/bin/told",), Seconds(3)),),
    )
    assert valid(GOOD)


A = "addresses: [192.0.2.1]"


@pytest.mark.parametrize(
    ("text", "said", "editor"),
    [
        (f"checks: [{{{A}}}]", "checks[0]: expected one of http, tcp and command, not none of them", False),
        (
            f"checks:\n- {A}\n  tcp: '[::1]:1'\n  command: [x]",
            "2: checks[0]: expected one of http, tcp and command, not tcp and command",
            False,
        ),
        ("checks: [{tcp: '127.0.0.1:1'}]", "checks[0].addresses: expected a value, not nothing", False),
        (f"checks: [{{{A}, http: 'http://www.example.com/'}}]", "its host an IP address or localhost", False),
        (f"checks: [{{{A}, http: 'http://a:b@127.0.0.1/'}}]", "expected a URL such as", False),
        (f"checks: [{{{A}, http: 'http://::1/'}}]", "expected a URL such as", False),
        (f"checks: [{{{A}, http: 'http://127.0.0.1:0/'}}]", "expected a URL such as", True),
        (f"checks: [{{{A}, http: 'http://127.0.0.1/a b'}}]", "expected a URL such as", False),
        (f"checks: [{{{A}, http: off}}]", "expected a URL such as", False),
        (f"checks: [{{{A}, tcp: 80}}]", "expected an address and a port such as 127.0.0.1:80", False),
        (f"checks: [{{{A}, tcp: '127.0.0.1:80', timeout: 3s}}]", "a timeout of at most the interval, 2s, not 3s", True),
        (f"checks: [{{{A}, tcp: '127.0.0.1:80', host: x}}]", "expected host only with http, not with tcp", True),
        (f"checks: [{{{A}, http: 'http://127.0.0.1', host: a..b}}]", "expected a host name, not 'a..b'", False),
        (f"checks: [{{{A}, http: 'http://127.0.0.1', verify: false}}]", "only with an https URL", True),
        (f"checks: [{{{A}, http: 'https://127.0.0.1', verify: maybe}}]", "expected true or false, not 'maybe'", False),
        (f"checks: [{{{A}, command: []}}]", "a list of a program and its arguments, not an empty list", False),
        (f"checks: [{{{A}, command: x -y}}]", "expected a list of a program and its arguments, not 'x -y'", False),
        (f'checks: [{{{A}, command: ["x\\0y"]}}]', "checks[0].command[0]: expected a text without NUL", False),
        (f"checks: [{{{A}, tcp: '127.0.0.1:80', interval: 2h}}]", "expected a duration from 100ms to 1h", True),
        (f"checks: [{{{A}, tcp: '127.0.0.1:80', interval: off}}]", "such as 100ms, 240s or 10m, not 'off'", False),
        ("on_change: [{}]", "on_change[0].command: expected a value, not nothing", False),
    ],
)
def test_refused(text: str, said: str, editor: bool) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert said in problems[0]
    assert valid(text) is editor, "what only fields together show, or bounds in text, an editor cannot know"


@pytest.mark.parametrize("text", ["http://127.0.0.1:80/", "https://[::1]:443/a?b=c", "http://localhost:8080/x"])
def test_urls(text: str) -> None:
    assert str(Url.parse(text)) == text


def test_what_may_be_confidential_is_not_shown() -> None:
    spans = Spans.parse("192.0.2.1")
    assert str(Check(addresses=spans, http=Url.parse("http://[::1]/x?token=secret"))) == "http http://[::1]:80/x"
    assert str(Check(addresses=spans, command=("/bin/check", "--password", "secret"))) == "command /bin/check"
    assert str(Check(addresses=spans, tcp=Endpoint("::1", 25))) == "tcp [::1]:25"


def rows(results: str, *, rise: int = 2, fall: int = 3) -> str:
    """The state after each result: `+` and `-` in, `p` and `f` out."""
    check = Check(addresses=Spans(), tcp=Endpoint("::1", 25), rise=rise, fall=fall)
    health = Health(0.0)
    states = ""
    for at, result in enumerate(results):
        before = health.state
        assert health.take(result == "+", check, float(at)) is (health.state is not before)
        states += health.state[0]
    return states


@pytest.mark.parametrize(
    ("results", "states"),
    [
        ("+", "p"),
        ("-", "f"),
        ("+--+--+---", "pppppppppf"),
        ("-+-++", "ffffp"),
        ("+---++---", "pppffpppf"),
    ],
)
def test_it_takes_a_row_to_change_what_is_known(results: str, states: str) -> None:
    assert rows(results) == states


def test_since() -> None:
    check = Check(addresses=Spans(), tcp=Endpoint("::1", 25), fall=2)
    health = Health(5.0)
    assert (health.state, health.since_s) == (State.UNKNOWN, 5.0)
    health.take(True, check, 6.0)
    health.take(False, check, 7.0)
    assert (health.state, health.since_s, health.against) == (State.PASSING, 6.0, 1)
    health.take(False, check, 8.0)
    assert (health.state, health.since_s, health.against) == (State.FAILING, 8.0, 0)


@given(st.text("+-", min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_a_change_has_as_many_equal_results_behind_it_as_it_takes(results: str, rise: int, fall: int) -> None:
    states = rows(results, rise=rise, fall=fall)
    for at in range(1, len(results)):
        if states[at] != states[at - 1]:
            needed = rise if states[at] == "p" else fall
            assert results[: at + 1].endswith(("+" if states[at] == "p" else "-") * needed)
