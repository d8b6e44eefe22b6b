"""That keepalived does what it is there for, in the scene where failover is measured."""

from lab import Lab
from lab.peers.keepalived import Keepalived
from lab.ring import VRRP, Ring, pool
from tests.real.stage import DEADLINE_S


def test_an_address_outlives_its_keepalived(lab: Lab) -> None:
    addresses = pool(4)
    ring = Ring(lab, addresses=addresses)
    a, b, c = ring.hosts
    one, other, last = runners = [
        Keepalived(ring.links[host], addresses, priority=priority, interval_s=0.1)
        for host, priority in ((a, 200), (b, 150), (c, 100))
    ]
    for runner in runners:
        runner.start()
    for address in addresses:
        ring.wait_owner(address, a, DEADLINE_S)
    one.kill()
    for address in addresses:
        ring.wait_owner(address, b, DEADLINE_S)
    ring.part_gossip([b], what=VRRP)
    last.process.wait_for_line("Entering MASTER STATE", DEADLINE_S)
    assert other.process.output.count("Entering BACKUP STATE") == 1
    ring.heal()
    last.process.wait_for_line(r"Master received advert from 192\.0\.2\.12 with higher priority", DEADLINE_S)
    other.stop()
    for address in addresses:
        ring.wait_owner(address, c, DEADLINE_S)
