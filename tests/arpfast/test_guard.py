"""The token buckets: what one asker, many askers and time itself may do to them."""

from __future__ import annotations

import random

import pytest

from arpfast.answer import Guard
from tests.arpfast.wire import HIS_MAC, KIN_MAC

SECOND = 1_000_000_000


def mac(number: int) -> bytes:
    return b"\x02" + number.to_bytes(5, "big")


def admitted(guard: Guard, asker: bytes, *, per_s: int, seconds: int = 1, start_ns: int = 0) -> int:
    """How many of evenly spaced questions pass."""
    step = SECOND // per_s
    return sum(guard.admit(asker, start_ns + i * step) for i in range(per_s * seconds))


def test_without_rates_everything_passes() -> None:
    guard = Guard()
    assert all(guard.admit(HIS_MAC, 0) for _ in range(1000))


def test_burst_then_rate() -> None:
    guard = Guard(each=100, each_burst=10)
    assert sum(guard.admit(HIS_MAC, SECOND) for _ in range(50)) == 10
    assert not guard.admit(HIS_MAC, SECOND + 9_999_999)
    assert guard.admit(HIS_MAC, SECOND + 10_000_000)
    assert not guard.admit(HIS_MAC, SECOND + 10_000_000)


def test_a_flood_gets_its_rate() -> None:
    assert admitted(Guard(each=1000, each_burst=50), HIS_MAC, per_s=50_000) == pytest.approx(1050, abs=2)


def test_a_pause_fills_the_bucket_but_no_further() -> None:
    guard = Guard(each=10, each_burst=5)
    assert sum(guard.admit(HIS_MAC, 0) for _ in range(9)) == 5
    assert sum(guard.admit(HIS_MAC, 3600 * SECOND) for _ in range(9)) == 5


def test_askers_do_not_share_a_bucket() -> None:
    guard = Guard(each=10, each_burst=1)
    assert guard.admit(HIS_MAC, 0)
    assert guard.admit(KIN_MAC, 0)
    assert not guard.admit(HIS_MAC, 0)


def test_all_together_have_a_rate() -> None:
    guard = Guard(total=1000, total_burst=100)
    passed = sum(guard.admit(mac(i), i * 10_000) for i in range(100_000))
    assert passed == pytest.approx(1000, rel=0.06)


def polite_share(guard: Guard, flood: list[bytes], *, flood_per_s: int, seconds: int = 5) -> float:
    """Answered share of one who asks ten times a second, first before the flood begins."""
    polite = mac(0xFFFFFFFF)
    guard.admit(polite, 0)
    asked = answered = 0
    for i in range(1, flood_per_s * seconds):
        now_ns = SECOND + i * SECOND // flood_per_s
        guard.admit(flood[i % len(flood)], now_ns)
        if i % (flood_per_s // 10) == 0:
            asked += 1
            answered += guard.admit(polite, now_ns)
    return answered / asked


def test_a_flood_from_one_does_not_starve_a_polite_one() -> None:
    guard = Guard(each=1000, each_burst=50, total=20_000, total_burst=200)
    assert polite_share(guard, [HIS_MAC], flood_per_s=100_000) == 1


def test_a_refusal_of_the_common_bucket_does_not_cost_the_asker() -> None:
    guard = Guard(each=10, each_burst=2, total=1, total_burst=2)
    assert guard.admit(HIS_MAC, 0)
    assert guard.admit(HIS_MAC, 0)
    assert not guard.admit(HIS_MAC, SECOND // 2)
    assert guard.admit(HIS_MAC, SECOND)


def test_a_flood_from_ever_new_addresses_does_not_starve_who_is_remembered() -> None:
    noise = random.Random(1)
    flood = [mac(noise.getrandbits(32)) for _ in range(200_000)]
    guard = Guard(each=1000, each_burst=50, total=20_000, total_burst=200, seed=12345)
    assert polite_share(guard, flood, flood_per_s=100_000) >= 0.99


def test_a_newcomer_during_such_a_flood_gets_his_share() -> None:
    guard = Guard(total=1000, total_burst=100)
    passed = sum(guard.admit(mac(i), i * 100_000) for i in range(50_000))
    assert passed / 50_000 == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("start", [0, 2**63 - SECOND // 2, 2**64 - SECOND // 2])
def test_the_clock_may_start_anywhere_and_wrap(start: int) -> None:
    guard = Guard(each=100, each_burst=10, total=1_000_000_000, total_burst=2**32 - 1)
    passed = sum(guard.admit(HIS_MAC, (start + i * 1_000_000) % 2**64) for i in range(1000))
    assert passed == pytest.approx(109, abs=1)


def test_a_clock_that_goes_back_locks_nobody_out() -> None:
    guard = Guard(each=10, each_burst=5, total=10, total_burst=5)
    assert guard.admit(HIS_MAC, 3600 * SECOND)
    assert sum(guard.admit(HIS_MAC, 0) for _ in range(9)) == 5


def test_extreme_rates_do_not_overflow() -> None:
    guard = Guard(each=1, each_burst=2**32 - 1, total=2**32 - 1, total_burst=2**32 - 1)
    assert all(guard.admit(HIS_MAC, 0) for _ in range(1000))
