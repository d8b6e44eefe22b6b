"""Community objects and the literals in them."""

from __future__ import annotations

import pytest

from cluster.communities import community as read
from tests.cluster.configuring import community, parsed, told

FORMS = "65000:1, large:65000:1:2 or the name of an alias"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("65000:1", "65000:1"), ("00:065535", "0:65535"), ("large:4294967295:0:1", "large:4294967295:0:1")],
)
def test_read(text: str, expected: str) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "1", "1:", ":1", "1:2:3", "-1:2", "+1:2", "1:65536", "a:b", "x:1:2:3", "large:1:2:x", "1:٣"],
)
def test_no_community(text: str) -> None:
    with pytest.raises(ValueError, match=FORMS):
        read(text)
    assert len(told(community(one=text))) == 1


def test_an_alias_is_unique_over_all_objects() -> None:
    assert told(community("a", one="1:1"), community("b", two="2:2", one="3:3")) == [
        "spec.communities[1].name: each alias once in all Communities"
    ]


def test_aliases_of_all_objects() -> None:
    config = parsed(community("a", one="1:1"), community("b", two="large:2:2:2")).config
    assert config.communities == {"one": "1:1", "two": "large:2:2:2"}
