"""arpfast answers ARP and NDP for addresses that no kernel owns.

The engine below the standalone command, and below anything that decides which addresses this host answers for. It knows
neither Kubernetes nor BGP. `docs/architecture.md` tells how its parts fit together.
"""

__version__ = "0.1.0"
