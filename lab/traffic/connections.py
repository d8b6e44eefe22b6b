"""Opens connections, one after the other, and says who was reached: what a client makes of several ways to an address.

    connections.py ADDRESS PORT COUNT

One line of JSON: how many each node has answered (`backend.py` says its name), and how many nobody has. Every
connection has another source port, as the kernel chooses it. Only the standard library, so that it starts in a few
milliseconds (`python -I -S`).
"""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter

PATIENCE_S = 2.0


def ask(address: str, port: int) -> str:
    """The name of the node that answers; empty if none does."""
    try:
        with socket.create_connection((address, port), PATIENCE_S) as stream:
            return stream.recv(256).decode().partition(" ")[0]
    except OSError:
        return ""


def main() -> None:
    """Ask as often as told."""
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(Counter(ask(address, port) for _ in range(count))), flush=True)


if __name__ == "__main__":
    main()
