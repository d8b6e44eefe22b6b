"""The ring: many hosts agree who answers for an address, and an address outlives its host.

    gossip/  who is there      --.
    watch.h  who answers         +--> roster.py ---> ownership.py ---> what this host answers for
    standing.py  who claims what-'    (pure)         (pure)            and what it says of itself

Each member publishes one value, its *standing*; everything else is derived from the standings, from who is there, and
from what the wire says. `ring.py` is the shell with the sockets and the clock.
"""
