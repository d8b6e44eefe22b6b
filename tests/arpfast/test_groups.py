"""Which solicited-node groups addresses need."""

from arpfast.groups import group, plan
from arpfast.spans import Spans


def test_rfc4291_2_7_1_the_group_ends_in_the_low_24_bits() -> None:
    assert plan(Spans.parse("4037::1:800:200e:8c6c")).groups == {0x0E8C6C}
    assert group(0x0E8C6C).hex() == "ff0200000000000000000001ff0e8c6c"


def test_addresses_with_equal_low_bits_share_a_group() -> None:
    assert plan(Spans.parse("2001:db8:1::5", "2001:db8:2::5", "2001:db8:3::100:5")).groups == {5}


def test_a_range_may_wrap_around_the_low_bits() -> None:
    assert plan(Spans.parse("2001:db8::ff:fffe-2001:db8::100:1")).groups == {0xFFFFFE, 0xFFFFFF, 0, 1}


def test_single_addresses_are_joined_although_a_wide_prefix_needs_all_multicast() -> None:
    found = plan(Spans.parse("2001:db8:1::/64", "2001:db8::10", "2001:db8::20-2001:db8::2f"))
    assert found.groups == {0x10, *range(0x20, 0x30)}
    assert found.all_multicast


def test_the_bound_counts_groups_not_addresses() -> None:
    assert plan(Spans.parse("2001:db8::/125", "2001:db9::/125"), at_most=8) == (frozenset(range(8)), False)
    assert plan(Spans.parse("2001:db8::/125", "2001:db9::8"), at_most=8) == (frozenset([8]), True)
