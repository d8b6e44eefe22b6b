"""Real routers, each in a host of the lab: FRR, BIRD and GoBGP, with one face for a test.

    router = Frr(host, 64600, [Peering(address="192.0.2.11", asn=64500, bfd_ms=100)])
    router.start()
    router.wait_established("192.0.2.11")
    (route,) = router.wait_route("192.0.2.100/32")
    assert route.communities == {"65000:1"}

What is read is the router's own view, by its own tool (`vtysh`, `birdc`, `gobgp`), and none of our code has a part in
it. All files of a router are in the lab's directory and all its processes in its host, so any number of them run side
by side, and nothing is left of them.
"""

from lab.routers.bird import Bird
from lab.routers.frr import Frr
from lab.routers.gobgp import Gobgp
from lab.routers.router import Bfd, Peering, Route, Router, Session

__all__ = ["Bfd", "Bird", "Frr", "Gobgp", "Peering", "Route", "Router", "Session"]
