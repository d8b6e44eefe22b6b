"""The queue of news: what is told, in which order, how often, and that it does not grow."""

from __future__ import annotations

import random

import pytest

from arpfast.gossip.broadcasts import Broadcasts, transmissions


def news(text: str, size: int = 30) -> bytes:
    return text.encode().ljust(size, b".")


def heads(taken: list[bytes]) -> list[str]:
    return [message.rstrip(b".").decode() for message in taken]


@pytest.mark.parametrize(("members", "sends"), [(1, 4), (2, 4), (9, 4), (10, 8), (99, 8), (100, 12), (999, 12)])
def test_how_often_news_are_told(members: int, sends: int) -> None:
    assert transmissions(4, members) == sends


def test_the_least_told_first_then_the_newest() -> None:
    queue = Broadcasts(10)
    queue.put("a", news("a"))
    assert heads(queue.take(100, 9, 3, 2)) == ["a"]
    queue.put("b", news("b"))
    queue.put("c", news("c"))
    assert heads(queue.take(100, 9, 3, 2)) == ["c", "b", "a"]
    assert heads(queue.take(40, 9, 3, 2)) == ["b"]
    assert heads(queue.take(100, 1, 3, 2)) == ["c"]
    assert heads(queue.take(100, 9, 3, 2)) == ["c", "b", "a"]
    assert not queue
    assert queue.take(100, 9, 3, 2) == []


def test_what_does_not_fit_waits_for_a_packet_where_it_does() -> None:
    queue = Broadcasts(10)
    queue.put("small", news("small", 30))
    queue.put("large", news("large", 90))
    assert heads(queue.take(60, 9, 2, 2)) == ["small"]
    assert heads(queue.take(200, 9, 2, 2)) == ["large", "small"]
    assert heads(queue.take(200, 9, 2, 2)) == ["large"]


def test_newer_news_replace_older_ones_and_their_end_is_told() -> None:
    queue, ended = Broadcasts(10), []
    queue.put("a", news("old"), lambda: ended.append("old"))
    queue.put("a", news("new"), lambda: ended.append("new"))
    assert ended == ["old"]
    assert heads(queue.take(100, 9, 2, 2)) == ["new"]
    assert ended == ["old"]
    queue.take(100, 9, 2, 2)
    assert ended == ["old", "new"]


def test_a_full_queue_drops_what_was_told_most() -> None:
    queue = Broadcasts(3)
    for topic in "abc":
        queue.put(topic, news(topic))
    queue.take(34, 1, 9, 2)
    queue.put("d", news("d"))
    assert (len(queue), queue.dropped) == (3, 1)
    assert heads(queue.take(200, 9, 9, 2)) == ["d", "b", "a"]


def test_replacing_without_end_does_not_grow_it() -> None:
    queue = Broadcasts(10)
    for n in range(10_000):
        queue.put(str(n % 5), news(str(n)))
    assert sum(map(len, queue._tiers)) < 100
    assert sorted(heads(queue.take(1000, 9, 9, 2))) == ["9995", "9996", "9997", "9998", "9999"]


def test_whatever_happens_each_is_told_so_often_and_never_more_than_fits() -> None:
    draw = random.Random(5)
    queue, told = Broadcasts(1000), dict.fromkeys(range(300), 0)
    for n in range(300):
        queue.put(str(n), news(str(n), draw.randrange(20, 400)))
        if n % 3 == 0:
            room = draw.randrange(1400)
            taken = queue.take(room, 255, 5, 2)
            assert sum(map(len, taken)) + 2 * len(taken) <= room
            for head in heads(taken):
                told[int(head)] += 1
    while queue:
        for head in heads(queue.take(1400, 255, 5, 2)):
            told[int(head)] += 1
    assert set(told.values()) == {5}
