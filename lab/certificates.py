"""An authority of the lab's own and certificates by it (RFC 5280), for servers that are asked by TLS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from controller.certificates import blank, usage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_VALID = timedelta(days=30)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write it where only we can read it, as SEC 1 has it (RFC 5915): Kubernetes reads no other key of accounts."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )  # fmt: skip


class Authority:
    """Signs certificates; whoever trusts the file `path` trusts them."""

    def __init__(self, path: Path) -> None:
        """A new one; its certificate is written to the path, its key stays here."""
        self.path = path
        self._key = new_key()
        certificate = (
            blank("the lab's authority", None, self._key.public_key(), datetime.now(UTC), _VALID)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._name = certificate.subject
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, path: Path, names: Iterable[str]) -> tuple[Path, Path]:
        """A server's certificate and key for these addresses and host names: `path` with .crt and .key."""
        key, names = new_key(), list(names)
        certificate = (
            blank(names[0], self._name, key.public_key(), datetime.now(UTC), _VALID)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip
        paths = path.with_suffix(".crt"), path.with_suffix(".key")
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_key(paths[1], key)
        return paths


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
