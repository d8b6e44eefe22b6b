"""The certificates by which the API server knows the webhook: an authority of its own, and what that signs. Pure.

Both are kept in one Secret, under the names that MetalLB's has. A certificate lives a year, its authority ten; each is
replaced when a third of that is left. A new authority does not displace the one before: the Secret has both for as
long as both are valid, so that whoever still shows a certificate of the old one is believed (RFC 5280 §6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AUTHORITY_LIVES, CERTIFICATE_LIVES = timedelta(days=3650), timedelta(days=365)
SLACK = timedelta(hours=1)
"""So far a clock elsewhere may be behind ours."""
LEFT_AT_LEAST = 1 / 3
AUTHORITIES_AT_MOST = 2
AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY = "ca.crt", "ca.key", "tls.crt", "tls.key"


@dataclass(frozen=True)
class Material:
    """What the Secret holds, as PEM."""

    authorities: bytes
    """Certificates of those that are to be trusted, the one that signs first."""
    authority_key: bytes = field(repr=False)
    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, data: Mapping[str, bytes]) -> Material:
        """From the Secret's values; what is not there is empty."""
        return cls(*(data.get(name, b"") for name in (AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY)))

    @property
    def data(self) -> dict[str, bytes]:
        """The Secret's values."""
        names = AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY
        return dict(zip(names, (self.authorities, self.authority_key, self.certificate, self.key), strict=True))


class _Signer(NamedTuple):
    """An authority that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def due(material: Material, names: Sequence[str]) -> datetime | None:
    """When something of this has to be replaced; None, if it is of no use: a part is no such thing, or fits no other,
    or is for other names.
    """
    try:
        signer = _signer(material)
        certificate = x509.load_pem_x509_certificate(material.certificate)
        key = serialization.load_pem_private_key(material.key, None)
        certificate.verify_directly_issued_by(signer.certificate)
        told = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return None
    fits = certificate.public_key() == key.public_key()
    if not fits or not set(names) <= set(told.get_values_for_type(x509.DNSName)):
        return None
    return min(_renewal(certificate), _renewal(signer.certificate))


def renew(material: Material | None, names: Sequence[str], now: datetime) -> Material:
    """A new certificate for these host names: by the authority that there is, or by a new one, if that is due."""
    try:
        signer = None if material is None else _signer(material)
    except (ValueError, TypeError):
        signer = None
    authorities = [] if material is None or signer is None else x509.load_pem_x509_certificates(material.authorities)
    if signer is None or now >= _renewal(signer.certificate):
        signer = _new_authority(now)
        authorities = [signer.certificate, *authorities]
    trusted = [each for each in authorities if each.not_valid_after_utc > now][:AUTHORITIES_AT_MOST]
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        blank(names[0], signer.certificate.subject, key.public_key(), now, CERTIFICATE_LIVES)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    return Material(
        b"".join(each.public_bytes(serialization.Encoding.PEM) for each in trusted),
        _written(signer.key),
        certificate.public_bytes(serialization.Encoding.PEM),
        _written(key),
    )


def expiry(material: Material) -> datetime:
    """Until when its certificate is valid. ValueError, if it has none."""
    return x509.load_pem_x509_certificate(material.certificate).not_valid_after_utc


def _signer(material: Material) -> _Signer:
    """The authority that signs. ValueError or TypeError, if there is none that we could use."""
    certificate = x509.load_pem_x509_certificates(material.authorities)[0]
    key = serialization.load_pem_private_key(material.authority_key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise ValueError("expected an authority's certificate and its key on an elliptic curve")
    return _Signer(certificate, key)


def _new_authority(now: datetime) -> _Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"arpfast webhook, {now.astimezone(UTC):%Y-%m-%d}"
    certificate = (
        blank(name, None, key.public_key(), now, AUTHORITY_LIVES)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Signer(certificate, key)


def _renewal(certificate: x509.Certificate) -> datetime:
    """When a third of its life is left."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return last - (last - first) * LEFT_AT_LEAST


def blank(
    name: str, issuer: x509.Name | None, key: ec.EllipticCurvePublicKey, now: datetime, lives: timedelta
) -> x509.CertificateBuilder:
    """What every certificate has, of an elliptic curve's key; None issues itself. Valid from a little before `now`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + lives)
    )


def usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What an authority's key is for, or a server's."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _written(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
