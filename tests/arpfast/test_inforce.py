"""Settings that are read, refused and replaced: what stays in force, and what is said about that."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from arpfast.announcer import Answer
from arpfast.config import Config, ConfigError, Overrides
from arpfast.config import RateLimit as Limit
from arpfast.control import Refused
from arpfast.inforce import InForce, Place, limit, read, wish
from arpfast.responder import RateLimit
from arpfast.spans import Spans


def in_force(path: Path, text: str, overrides: Overrides = Overrides()) -> InForce:  # noqa: B008 (frozen)
    path.write_text(text)
    place = Place(str(path), overrides)
    return InForce(place, read(place))


def test_the_command_line_holds_through_reloads(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    settings = in_force(path, "addresses: [192.0.2.1]\n", Overrides(addresses=Spans.parse("192.0.2.9")))
    path.write_text("addresses: [192.0.2.2, 192.0.2.3]\nmetrics: :9707\n")
    told = settings.replace(asyncio.run(settings.read_again()))
    assert told == {"added": 2, "removed": 1, "changed": ["addresses", "metrics"], "needs_restart": ["metrics"]}
    assert settings.config.addresses == Spans.parse("192.0.2.2", "192.0.2.3", "192.0.2.9")
    assert settings.reloads == {"applied": 1, "refused": 0}


def test_what_was_changed_in_vain_is_remembered(tmp_path: Path) -> None:
    settings = in_force(tmp_path / "f.yaml", "")
    settings.replace(Config(control="/elsewhere"))
    assert settings.replace(Config(control="/elsewhere"))["needs_restart"] == ["control"]


def test_what_a_reload_cannot_change_of_the_ring_is_not_in_force_by_halves(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    settings = in_force(path, "ring: {members: [192.0.2.1, 192.0.2.2]}\n")
    before = settings.config.ring
    assert before
    path.write_text("ring: {members: [192.0.2.1, 192.0.2.2], election: metallb, port: 7, label: x, weight: 5}\n")
    told = settings.replace(asyncio.run(settings.read_again()))
    assert told["needs_restart"] == ["ring.election", "ring.label", "ring.port"]
    assert settings.config.ring == msgspec.structs.replace(before, weight=5)
    path.write_text("")
    assert settings.replace(asyncio.run(settings.read_again()))["needs_restart"][0] == "ring"
    assert settings.config.ring == msgspec.structs.replace(before, weight=5), "expected the seat to stay taken"


def test_a_ring_is_not_entered_by_a_reload(tmp_path: Path) -> None:
    settings = in_force(tmp_path / "f.yaml", "")
    (tmp_path / "f.yaml").write_text("ring: {members: [192.0.2.1, 192.0.2.2]}\n")
    assert settings.replace(asyncio.run(settings.read_again()))["needs_restart"] == ["ring"]
    assert settings.config.ring is None


def test_a_refused_file_leaves_the_settings_and_says_since_when_they_are_stale(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    settings = in_force(path, "addresses: [192.0.2.1]\n")
    before = settings.config
    path.write_text("addresses: [192.0.2.1, x]\n")
    with pytest.raises(Refused, match=r":1: addresses\[1\]: expected an address"):
        asyncio.run(settings.read_again())
    assert settings.config is before
    assert settings.reloads == {"applied": 0, "refused": 1}
    assert len(settings.status()["stale"]["errors"]) == 1
    path.write_text("addresses: [192.0.2.1]\n")
    settings.replace(asyncio.run(settings.read_again()))
    assert settings.status()["stale"] is None


def test_without_a_file_there_is_nothing_to_read_again() -> None:
    settings = InForce(Place(), Config())
    with pytest.raises(Refused, match="expected a settings file to read again"):
        asyncio.run(settings.read_again())
    with pytest.raises(ConfigError):
        read(Place("/nonexistent"))


def test_addresses_that_stay_are_the_same_objects(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    text = "addresses:\n" + "".join(f"- 192.0.2.{2 * n}\n" for n in range(1, 100))
    settings = in_force(path, text)
    before = settings.config.addresses
    settings.replace(asyncio.run(settings.read_again()))
    assert settings.config.addresses is before
    path.write_text(text + "- 192.0.2.77\n")
    settings.replace(asyncio.run(settings.read_again()))
    kept = {id(span) for span in before} & {id(span) for span in settings.config.addresses}
    assert len(kept) == len(before.spans) - 2, "all but the two that the new one joins"


def test_what_the_parts_are_told() -> None:
    config = Config(addresses=Spans.parse("192.0.2.1"), proxy=Spans.parse("2001:db8::/64"), interfaces=("eth*",))
    answers, settings = wish(config)
    assert answers == [Answer(config.addresses), Answer(config.proxy, proxy=True)]
    assert settings.choice.patterns == ("eth*",)
    assert limit(config) is None
    assert limit(Config(rate_limit=Limit(10, 20, 30))) == RateLimit(10, 20, 30)
