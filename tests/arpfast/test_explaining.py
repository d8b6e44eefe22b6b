"""Why an address is answered, or is not."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import msgspec

from arpfast.explaining import explain
from tests.arpfast.stage import V4, Stage, eth


def test_explain_knows_the_kernels_own_addresses() -> None:
    stage = Stage(eth(addresses=(ip_interface("192.0.2.10/24"),)))
    stage.want(V4)
    found = explain(stage.duties, 4, int(ip_address(V4)), stage.now, 5e9)
    assert found.kernel_interfaces == ("eth2",)
    assert msgspec.json.encode(found)


def test_what_the_ring_has_given_to_another_host_is_wanted_all_the_same() -> None:
    stage = Stage(eth())
    found = explain(stage.duties, 4, int(ip_address(V4)), stage.now, 5e9, shared=True)
    assert found.wanted
    assert [link.why for link in found.links] == ["the ring has not given it to this host"]
    found = explain(stage.duties, 4, int(ip_address(V4)) + 1, stage.now, 5e9)
    assert not found.wanted
    assert [link.why for link in found.links] == ["not among the addresses to answer for"]
