"""The times of RFC 5227 §1.1 and RFC 4862 §5.4."""

from random import Random

from arpfast.probing import ProbeMode, plan


def test_quick_is_three_probes_100_ms_apart_and_those_of_ipv6_wait_for_the_report_of_the_group() -> None:
    assert plan(ProbeMode.QUICK, 4, Random(1)) == (0, (0.1, 0.1, 0.1))
    assert plan(ProbeMode.QUICK, 6, Random(1)) == (0.05, (0.1, 0.1, 0.1))


def test_rfc5227_times() -> None:
    for seed in range(100):
        how = plan(ProbeMode.RFC, 4, Random(seed))
        assert 0 <= how.first_delay_s <= 1
        assert how.probes == 3
        assert all(1 <= gap <= 2 for gap in how.gaps_s[:2])
        assert how.gaps_s[2] == 2


def test_rfc4862_times() -> None:
    for seed in range(100):
        how = plan(ProbeMode.RFC, 6, Random(seed))
        assert 0 <= how.first_delay_s <= 1
        assert how.gaps_s == (1,)
