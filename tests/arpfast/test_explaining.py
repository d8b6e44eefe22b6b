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
