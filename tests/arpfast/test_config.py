import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec.inspect
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arpfast import config as settings
from arpfast.config import CONTROL_PATH, Announce, Config, ConfigError, Log, Overrides, RateLimit
from arpfast.decode import plain
from arpfast.listen import Listen
from arpfast.schema import schema
from arpfast.seconds import Seconds
from arpfast.spans import Spans

EXAMPLE = Path(__file__).parents[2] / "deploy" / "arpfast.yaml"
MANUALS = [Path(__file__).parents[2] / "docs" / f"{name}.md" for name in ("configuration", "ring", "services")]


def read(text: str) -> Config:
    return settings.read(text.encode(), "f.yaml")


def lines_of(text: str | bytes) -> list[str]:
    """What is wrong with it; nothing when it was accepted."""
    try:
        settings.read(text.encode() if isinstance(text, str) else text, "f.yaml")
    except ConfigError as error:
        return error.lines()
    return []


def refused(text: str | bytes) -> list[str]:
    lines = lines_of(text)
    assert lines, "was accepted"
    return lines


def _keys(described: Any, prefix: str = "") -> set[str]:
    found = set()
    for part in [described, *described.get("anyOf", [])]:
        for name, inner in part.get("properties", {}).items():
            found |= {prefix + name} | _keys(inner, f"{prefix}{name}.")
    return found


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ("192.0.2.1, 192.0.2.1", "expected each member once"),
        ("'2001:db8::1', '2001:db8:0::1'", "expected each member once"),
        ("192.0.2.1, '2001:db8::1'", "expected the addresses of all members in one family"),
        ("192.0.2.1, 192.0.2.300", "expected the address of a member, not '192.0.2.300'"),
        *(
            (f"'{member}'", f"expected an address by which the others reach a member, not '{member}'")
            for member in ("0.0.0.0", "224.0.0.1", "::", "fe80::1")
        ),
    ],
)
def test_members_that_cannot_be_are_refused(members: str, told: str) -> None:
    assert refused(f"addresses: [192.0.2.9]\nring: {{members: [{members}]}}") == [f"f.yaml:2: ring: {told}"]


def test_empty_file_is_all_defaults() -> None:
    assert read("") == read("# nothing\n") == Config()
    assert Config().control == CONTROL_PATH


def test_every_field_is_read() -> None:
    assert read(
        """
        addresses: [192.0.2.10, 192.0.2.20-192.0.2.29, "2001:db8::/112"]
        proxy:
        - 2001:db8:1::/64
        interfaces: [eth0, "lan*"]
        announce: {repeat: 2, rate: 500, refresh: 10m, probe: rfc}
        conflict: yield
        rate_limit: {per_mac: 10, burst: 20, total: 30}
        control: /tmp/c.sock
        metrics: "[::1]:9707"
        log: {level: debug, format: json}
        """
    ) == Config(
        addresses=Spans.parse("192.0.2.10", "192.0.2.20-192.0.2.29", "2001:db8::/112"),
        proxy=Spans.parse("2001:db8:1::/64"),
        interfaces=("eth0", "lan*"),
        announce=Announce(repeat=2, rate=500, refresh_s=Seconds(600), probe="rfc"),
        conflict="yield",
        rate_limit=RateLimit(per_mac=10, burst=20, total=30),
        control="/tmp/c.sock",
        metrics=Listen("::1", 9707),
        log=Log(level="debug", format="json"),
    )


def test_off_is_no_yaml_boolean() -> None:
    config = read("announce: {probe: off, refresh: off}\nrate_limit: off\nmetrics: off\n")
    assert (config.announce.probe, config.announce.refresh_s, config.rate_limit, config.metrics) == (
        "off",
        None,
        None,
        None,
    )


def test_address_that_yaml_1_1_takes_for_a_base_60_number() -> None:
    assert read("addresses:\n- 1:2:3:4:5:6:7:8\n- 12:34:56:1:2:3:4:5\n").addresses.size == 2


def test_own_inside_proxy_is_fine() -> None:
    assert read("addresses: [192.0.2.7]\nproxy: [192.0.2.0/24]\n").proxy.size == 256


def test_all_problems_at_once_in_the_order_of_the_file() -> None:
    assert refused(
        """\
adresses: [192.0.2.1]
addresses:
- 192.0.2.1
- 192.0.2.0/24
- 224.0.0.1
- 192.0.2.300
- [192.0.2.1]
announce: {probe: of, rate: 0, refresh: 1d, repeat: "3"}
announce: {}
metrics: 1
log:
conflict: defnd
control: foo
proxy: ["::/0", 10.0.0.0/8, 10.1.0.0/16, 10.0.0.9-10.0.0.1, 10.0.0.1/8]
rate_limit: [1]
"""
    ) == [
        "f.yaml:1: adresses: unknown field; did you mean 'addresses'?",
        "f.yaml:4: addresses[1]: expected each address once, but 192.0.2.0/24 overlaps 192.0.2.1 on line 3",
        (
            "f.yaml:5: addresses[2]: expected unicast addresses that a host can have, not 224.0.0.1: "
            "it holds multicast addresses"
        ),
        "f.yaml:6: addresses[3]: expected an address, a range (first-last) or a prefix, not '192.0.2.300'",
        "f.yaml:7: addresses[4]: expected an address, a range (first-last) or a prefix, not a list",
        "f.yaml:8: announce.probe: expected off, quick or rfc, not 'of'; did you mean 'off'?",
        "f.yaml:8: announce.rate: expected a whole number from 1 to 1000000, not '0'",
        "f.yaml:8: announce.refresh: expected a duration from 1s to 24h, such as 100ms, 240s or 10m, or off, not '1d'",
        "f.yaml:8: announce.repeat: expected a whole number from 1 to 10, not the text '3'",
        "f.yaml:9: announce: expected once, not again (first on line 8)",
        (
            "f.yaml:10: metrics: expected an address and a port such as 127.0.0.1:9707, [::1]:9707 or :9707, or off, "
            "not '1'"
        ),
        "f.yaml:11: log: expected a mapping of fields, not nothing",
        "f.yaml:12: conflict: expected defend, report or yield, not 'defnd'; did you mean 'defend'?",
        "f.yaml:13: control: expected an absolute path of at most 107 bytes, not 'foo'",
        (
            "f.yaml:14: proxy[0]: expected unicast addresses that a host can have, not ::/0: "
            "it holds unspecified addresses"
        ),
        "f.yaml:14: proxy[3]: expected a range that runs upwards, as in 10.0.0.1-10.0.0.9, not 10.0.0.9-10.0.0.1",
        "f.yaml:14: proxy[4]: expected a prefix without host bits, as in 10.0.0.0/8, not 10.0.0.1/8",
        "f.yaml:14: proxy[2]: expected each address once, but 10.1.0.0/16 overlaps 10.0.0.0/8 on line 14",
        "f.yaml:15: rate_limit: expected a mapping of fields or off, not a list",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 1\n", "f.yaml:1: expected a mapping of fields, not a list"),
        ("foo\n", "f.yaml:1: expected a mapping of fields, not 'foo'"),
        ("a: &x 1\nb: *x\n", "f.yaml:1: expected plain values, not YAML anchors (&) or aliases (*)"),
        ("log: !!python/object:os.system x\n", "expected plain values, not the YAML tag"),
        ("log: {}\n---\nlog: {}\n", "f.yaml:2: expected a single YAML document"),
        ("log: " + "[" * 50, "f.yaml:1: expected at most 16 levels"),
        ("? [1]\n: 2\n", "f.yaml:1: expected the name of a field"),
        ("a:\n\tb: 1\n", "f.yaml:2: expected YAML: "),
        ("a: 1\nb: 2\n c: 3\n", "f.yaml:3: expected YAML: mapping values are not allowed"),
        ("a: [1, 2\n", "expected YAML: "),
        ("a: \0\n", "f.yaml:1: expected text, not the character #x0000"),
        (b"log: {}\n# \xff\n", "f.yaml:2: expected text in UTF-8"),
        ('"zz\\e[31m": 1\n', "f.yaml:1: zz\\x1b[31m: unknown field"),
        ('conflict: "a\\nb"\n', r"f.yaml:1: conflict: expected defend, report or yield, not the text 'a\nb'"),
        ("proxy: [::1]\n", "an IPv6 address that begins or ends with a colon needs quotes inside [...]"),
        ("interfaces: [a b]\n", "f.yaml:1: interfaces[0]: expected an interface name, glob or prefix, not 'a b'"),
        ("rate_limit: {per_mac: 9e9}\n", "rate_limit.per_mac: expected a whole number from 1 to 100000000, not '9e9'"),
        ("addresses: [fe80::1%eth0]\n", "expected an address without a zone"),
        ("addresses: [127.0.0.1-128.0.0.1]\n", "it holds loopback addresses"),
        ("addresses: [0.0.0.0]\n", "it holds unspecified addresses"),
        ("addresses: [255.255.255.255]\n", "it holds broadcast addresses"),
        ("proxy: ['::ffff:192.0.2.1']\n", "it holds IPv4-mapped addresses"),
        ("addresses:\n", "f.yaml:1: addresses: expected a list of addresses, ranges or prefixes, not nothing"),
        ("announce: {refresh: -5s}\n", "f.yaml:1: announce.refresh: expected a duration from 1s to 24h"),
    ],
)
def test_refused(text: str | bytes, said: str) -> None:
    (line,) = refused(text)
    assert said in line
    assert line.isprintable()


def test_aliases_cannot_blow_up() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )
    assert "anchors" in refused(bomb)[0]


def test_absurd_sizes_are_refused() -> None:
    assert "MiB" in refused(b"#" * (33 << 20))[0]


def test_very_many_problems_are_cut_short() -> None:
    lines = refused("addresses:\n" + "- nonsense\n" * 1000)
    assert len(lines) == settings.PROBLEMS_SHOWN + 1
    assert lines[-1] == "f.yaml: and 975 more like these"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(source: bytes) -> None:
    assert all(line.startswith("f.yaml") and line.isprintable() for line in lines_of(source))


KEYS = sorted({name for key in _keys(schema()) for name in key.split(".")})
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text("abc:'\x1b\né ", max_size=9)
    | st.sampled_from(["192.0.2.1", "1s"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_yaml_is_read_or_refused(value: dict[str, Any]) -> None:
    assert all(line.isprintable() for line in lines_of(yaml.safe_dump(value, allow_unicode=True)))


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: no such file or directory"):
        settings.load(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        settings.load(str(tmp_path))


def test_arguments_are_checked_like_the_file() -> None:
    assert settings.addresses(["192.0.2.1", "192.0.2.1", "2001:db8::/64"]).size == 2**64 + 1
    with pytest.raises(ConfigError) as caught:
        settings.addresses(["192.0.2.1", "eth0", "ff02::1"])
    assert [line.partition(" expected")[0] for line in caught.value.lines()] == [
        "command line: eth0:",
        "command line: ff02::1:",
    ]


def test_the_command_line_adds_to_lists_and_overrides_values() -> None:
    config = read("addresses: [192.0.2.1]\ninterfaces: [eth0]\nannounce: {probe: rfc, repeat: 2}\ncontrol: /a\n")
    overrides = Overrides(addresses=Spans.parse("192.0.2.1-192.0.2.2"), interfaces=("eth1", "eth0"), probe="off")
    combined = settings.combine(config, overrides)
    assert combined.addresses == Spans.parse("192.0.2.1-192.0.2.2")
    assert combined.interfaces == ("eth0", "eth1")
    assert combined.announce == Announce(repeat=2, probe="off")
    assert combined.control == "/a"
    assert settings.combine(config, Overrides()) == config


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [("100ms", 0.1, "100ms"), ("240s", 240, "4m"), ("10m", 600, "10m"), ("1h", 3600, "1h"), ("1.5", 1.5, "1.5s")],
)
def test_durations(text: str, seconds: float, shown: str) -> None:
    assert Seconds.parse(text) == pytest.approx(seconds)
    assert str(Seconds.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "s", "1d", "-1s", "1e3", "1 s", "٣s", "inf", "1s1s"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Seconds.parse(text)


@pytest.mark.parametrize("text", ["127.0.0.1:9707", "[::1]:1", ":65535"])
def test_listen(text: str) -> None:
    assert str(Listen.parse(text)) == text


@pytest.mark.parametrize("text", ["9707", "::1:9707", "127.0.0.1:0", "127.0.0.1:65536", "[127.0.0.1]:1", "host:1", "x"])
def test_not_listen(text: str) -> None:
    with pytest.raises(ValueError, match="expected an address and a port"):
        Listen.parse(text)


def _parsed(expected: msgspec.inspect.Type, prefix: str = "") -> set[str]:
    expected, _, _ = plain(expected)
    if not isinstance(expected, msgspec.inspect.StructType) or expected.cls in settings.READERS:
        return set()
    return {
        name
        for field in expected.fields
        for name in ({prefix + field.encode_name} | _parsed(field.type, f"{prefix}{field.encode_name}."))
    }


def test_schema_and_parser_know_the_same_keys() -> None:
    keys = _keys(schema())
    assert keys == _parsed(msgspec.inspect.type_info(Config))
    assert "rate_limit.burst" in keys


def test_schema_is_json_and_a_schema() -> None:
    described = json.loads(json.dumps(schema()))
    jsonschema.Draft202012Validator.check_schema(described)
    for name, part in described["properties"].items():
        jsonschema.validate({name: part["default"]}, described)
        assert part["description"]


def _documented() -> list[tuple[str, str]]:
    blocks = [block for manual in MANUALS for block in manual.read_text().split("```yaml\n")[1:]]
    return [("deploy/arpfast.yaml", EXAMPLE.read_text())] + [
        (f"the documents, example {at}", block.partition("```")[0]) for at, block in enumerate(blocks, 1)
    ]


@pytest.mark.parametrize(("name", "text"), _documented(), ids=lambda value: value if " " not in value else "")
def test_documented_examples_are_accepted_by_parser_and_schema(name: str, text: str) -> None:
    assert settings.read(text.encode(), name)
    jsonschema.validate(yaml.safe_load(text) or {}, schema())


def test_no_restart_beside_a_ring() -> None:
    assert settings.read(b"restart: 10s", "f").restart_s == Seconds(10)
    with pytest.raises(ConfigError, match="f: restart: expected no restart beside a ring"):
        settings.read(b"restart: 10s\nring: {members: [192.0.2.1, 192.0.2.2]}", "f")


def test_every_key_is_documented() -> None:
    manual = "".join(manual.read_text() for manual in MANUALS)
    assert [key for key in _keys(schema()) if f"`{key}`" not in manual] == []


def test_schema_refuses_what_the_parser_refuses() -> None:
    for text in ("adresses: []", "conflict: maybe", "announce: {rate: 0}", "announce: {rate: '1'}", "control: x"):
        refused(text)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(text), schema())
