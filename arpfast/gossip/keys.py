"""The keys of a ring: all of them open what comes in, the first one seals what goes out.

A key is changed without a gap in three steps, each done on every member before the next: the new key is added as the
second, it becomes the first, the old one is removed. AES-GCM; what is sealed starts with a version byte (1; 0 pads the
plain text to blocks of 16, and is read too), then 12 random bytes, the cipher text and its tag of 16.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Self

from arpfast.gossip.messages import Cause, WireError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OVERHEAD = 1 + 12 + 16
_BLOCK = 16


class Key(bytes):
    """An AES key of 16, 24 or 32 bytes, which does not show itself."""

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Self:
        """Raises ValueError for another length."""
        if len(raw) not in {16, 24, 32}:
            raise ValueError(f"expected a key of 16, 24 or 32 bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    def __repr__(self) -> str:
        """Without the key."""
        return f"<Key of {len(self)} bytes>"

    __str__ = __repr__


def metallb(secret: bytes) -> Key:
    """The key that MetalLB's speakers make of their secret: its first bytes, filled up with those of a constant."""
    return Key((secret + hashlib.sha256(b"").digest())[:32])


def sha256(secret: bytes) -> Key:
    """The key that we make of a secret of any length."""
    return Key(hashlib.sha256(secret).digest())


class Keyring:
    """Seals and opens; with no key at all, does not exist: the library behind it is loaded with the first one."""

    def __init__(self, keys: Iterable[Key]) -> None:
        """The first of at least one key seals."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (a ring without keys is to cost no memory)
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        self._invalid = InvalidTag
        self._ciphers: list[AESGCM] = [AESGCM(key) for key in keys]

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """`plain`, encrypted, authentic together with `associated`."""
        nonce = os.urandom(12)
        return b"\x01" + nonce + self._ciphers[0].encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """What one of the keys opens. Raises WireError."""
        if not sealed or sealed[0] > 1:
            raise WireError(Cause.KEY, f"expected a sealed message of version 0 or 1, not {sealed[:1].hex() or 'none'}")
        if len(sealed) < OVERHEAD:
            raise WireError(Cause.KEY, f"expected a sealed message of at least {OVERHEAD} bytes, not {len(sealed)}")
        nonce, rest = sealed[1:13], sealed[13:]
        for cipher in self._ciphers:
            try:
                plain = cipher.decrypt(nonce, rest, associated)
            except self._invalid:
                continue
            return plain if sealed[0] else _unpadded(plain)
        raise WireError(Cause.KEY, "expected a message sealed with one of our keys")


def _unpadded(plain: bytes) -> bytes:
    padding = plain[-1] if plain else 0
    if not 1 <= padding <= _BLOCK or padding > len(plain):
        raise WireError(Cause.MALFORMED, f"expected 1 to {_BLOCK} bytes of padding, not {padding}")
    return plain[:-padding]
