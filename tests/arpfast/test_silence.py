"""Which settings have the kernel speak for addresses on `lo`. That it really does, tests/real/test_local.py asks it."""

from collections.abc import Mapping

import pytest

from arpfast.silence import Speaker, speakers


def found(settings: Mapping[str, int], *interfaces: str) -> list[Speaker]:
    def sysctl(family: str, interface: str, name: str) -> int:
        assert family == "ipv4"
        return max(settings.get(f"{scope}.{name}", 0) for scope in ("all", interface))

    return speakers(sysctl, interfaces or ("eth0",))


@pytest.mark.parametrize("ignore", [1, 2, 3, 8])
def test_silent(ignore: int) -> None:
    assert found({"all.arp_ignore": ignore, "eth0.arp_announce": 2}) == []


@pytest.mark.parametrize(
    ("settings", "told", "remedy"),
    [
        (
            {"all.arp_announce": 2},
            "with arp_ignore=0 the kernel answers for them on eth0",
            "sysctl net.ipv4.conf.all.arp_ignore=1",
        ),
        (
            {"all.arp_announce": 2, "eth0.arp_ignore": 4, "all.arp_ignore": 1},
            "with arp_ignore=4 the kernel answers for them on eth0",
            "sysctl net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.eth0.arp_ignore=1",
        ),
        (
            {"all.arp_ignore": 1, "eth0.arp_announce": 1},
            "with arp_announce=1 the kernel asks its neighbours from them on eth0",
            "sysctl net.ipv4.conf.all.arp_announce=2",
        ),
    ],
)
def test_speaking(settings: dict[str, int], told: str, remedy: str) -> None:
    (speaker,) = found(settings)
    assert (str(speaker), speaker.remedy) == (told, remedy)


def test_each_interface_counts() -> None:
    settings = {"eth0.arp_ignore": 1, "eth0.arp_announce": 2, "eth1.arp_ignore": 1}
    assert found(settings, "eth0", "eth1", "eth2") == [
        Speaker("eth1", "arp_announce", 0),
        Speaker("eth2", "arp_ignore", 0),
        Speaker("eth2", "arp_announce", 0),
    ]
