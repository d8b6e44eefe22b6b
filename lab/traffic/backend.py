"""What stands behind a Service: says, over TCP and UDP, which node it is on and who asks.

    backend.py NODE PORT ADDRESS…

One line: the node's name and the address that the question came from. It says `ready` once it listens on every address.
Only the standard library, so that it starts in a few milliseconds (`python -I -S`).
"""

from __future__ import annotations

import selectors
import socket
import sys
from contextlib import suppress

PATIENCE_S = 5.0


def listen(kind: int, address: str, port: int) -> socket.socket:
    """A socket of this kind there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    if kind == socket.SOCK_STREAM:
        listener.listen(128)
    listener.setblocking(False)
    return listener


def answer(listener: socket.socket, node: str) -> None:
    """Answer one question, if it is still there. Raises OSError."""
    if listener.type == socket.SOCK_DGRAM:
        _, peer = listener.recvfrom(2048)
        listener.sendto(f"{node} {peer[0]}\n".encode(), peer)
        return
    stream, peer = listener.accept()
    with stream:
        stream.settimeout(PATIENCE_S)
        stream.sendall(f"{node} {peer[0]}\n".encode())


def serve(node: str, port: int, addresses: list[str]) -> None:
    """Answer whoever asks, until killed."""
    with selectors.DefaultSelector() as selector:
        for address in addresses:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                selector.register(listen(kind, address, port), selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for ready, _ in selector.select():
                assert isinstance(ready.fileobj, socket.socket)
                with suppress(OSError):  # who asked has gone
                    answer(ready.fileobj, node)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
