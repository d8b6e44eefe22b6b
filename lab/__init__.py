"""A network on one machine, as Python objects: the stage for tests, benchmarks and the demonstration.

    with Lab() as lab:
        asker, answerer = lab.host("asker"), lab.host("answerer")
        switch = lab.switch()
        asker.link(switch, addresses=["192.0.2.1/24", "2001:db8::1/64"])
        eth0 = answerer.link(switch, addresses=["192.0.2.2/24"])
        with answerer.capture(eth0) as capture:
            assert asker.resolve("192.0.2.2") == eth0.mac

A `Host` is a network namespace of its own, a `Link` one end of a cable (a veth pair), a `Switch` a host with a bridge
in it. Nothing here touches the namespace that the caller runs in, and nothing outlives the `Lab`, not even when its
creator is killed (`keeper.py`). `frames.py` reads and writes ARP and neighbour discovery without a line of the C code
that is tested with it: it is an oracle, not a mirror.
"""

from lab.capture import Capture, Captured
from lab.frames import Advertisement, Arp, Mac, Solicitation, decode
from lab.host import Host
from lab.link import Link
from lab.neighbours import Neighbour, State
from lab.network import Lab, obstacle
from lab.process import Finished, Process, ProcessFailed
from lab.switch import Switch
from lab.waiting import DeadlineError, wait_until

__all__ = [
    "Advertisement",
    "Arp",
    "Capture",
    "Captured",
    "DeadlineError",
    "Finished",
    "Host",
    "Lab",
    "Link",
    "Mac",
    "Neighbour",
    "Process",
    "ProcessFailed",
    "Solicitation",
    "State",
    "Switch",
    "decode",
    "obstacle",
    "wait_until",
]
