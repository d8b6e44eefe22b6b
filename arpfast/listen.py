"""Where something is served by TCP, as people write it."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

import msgspec


class Listen(msgspec.Struct, frozen=True):
    """Where to serve metrics: an address (empty: all of them, both families) and a TCP port."""

    address: str
    port: int

    PATTERN = r"^(\[[0-9a-fA-F:.]+\]|[0-9.]*):[0-9]{1,5}$"

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read `127.0.0.1:9707`, `[::1]:9707` or `:9707`; ValueError if it is none of these."""
        address, colon, port = text.rpartition(":")
        try:
            if not colon or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535:
                raise ValueError
            if address:
                bracketed = address.startswith("[") and address.endswith("]")
                if isinstance(ip_address(address.strip("[]")), IPv6Address) != bracketed:
                    raise ValueError
        except ValueError:
            raise ValueError("expected an address and a port such as 127.0.0.1:9707, [::1]:9707 or :9707") from None
        return cls(address.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"
