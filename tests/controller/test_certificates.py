"""The webhook's certificates: when they are renewed, by whom they are signed, and who is believed meanwhile."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from controller.certificates import Material, due, expiry, renew

NAMES = ["webhook.lb.svc", "webhook.lb"]
START = datetime(2026, 1, 1, tzinfo=UTC)
MADE = renew(None, NAMES, START)


def believes(authorities: bytes, certificate: bytes, when: datetime, name: str = NAMES[0]) -> bool:
    """Whether a client that trusts these authorities does, as RFC 5280 has it."""
    store = Store(x509.load_pem_x509_certificates(authorities))
    verifier = PolicyBuilder().store(store).time(when).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(x509.load_pem_x509_certificate(certificate), [])
    except VerificationError:
        return False
    return True


def test_who_believes_it() -> None:
    assert all(believes(MADE.authorities, MADE.certificate, START, name) for name in NAMES)
    assert not believes(MADE.authorities, MADE.certificate, START, "other.lb.svc")
    assert not believes(renew(None, NAMES, START).authorities, MADE.certificate, START)
    assert believes(MADE.authorities, MADE.certificate, START - timedelta(minutes=30))
    assert expiry(MADE) == START + timedelta(days=365)


def test_when_it_is_due() -> None:
    when = due(MADE, NAMES)
    assert when is not None
    assert timedelta(days=240) < when - START < timedelta(days=250)
    assert due(MADE, ["another.lb.svc"]) is None


def test_a_certificate_is_renewed_by_the_same_authority() -> None:
    later = START + timedelta(days=250)
    renewed = renew(MADE, NAMES, later)
    assert (renewed.authorities, renewed.authority_key) == (MADE.authorities, MADE.authority_key)
    assert renewed.certificate != MADE.certificate
    assert believes(MADE.authorities, renewed.certificate, later)
    assert (due(renewed, NAMES) or START) > later


def test_a_new_authority_does_not_displace_the_old_one() -> None:
    later = START + timedelta(days=2500)
    before = renew(MADE, NAMES, later - timedelta(days=90))
    renewed = renew(before, NAMES, later)
    assert renewed.authority_key != MADE.authority_key
    assert believes(renewed.authorities, renewed.certificate, later)
    assert believes(renewed.authorities, before.certificate, later), "who has not heard of it yet is believed"
    much_later = renew(renewed, NAMES, later + timedelta(days=1300))
    assert len(x509.load_pem_x509_certificates(much_later.authorities)) == 1, "the old one has expired"


OTHER = renew(None, NAMES, START)
USELESS = {
    "nothing": Material(b"", b"", b"", b""),
    "no authority": dataclasses.replace(MADE, authorities=b"-----BEGIN CERTIFICATE-----\nAAAA\n"),
    "no key of the authority": dataclasses.replace(MADE, authority_key=b""),
    "another authority's key": dataclasses.replace(MADE, authority_key=OTHER.authority_key),
    "another authority's certificate": dataclasses.replace(MADE, certificate=OTHER.certificate, key=OTHER.key),
    "another certificate's key": dataclasses.replace(MADE, key=OTHER.key),
    "no text": Material(b"\xff\x00", b"\xff", b"\xff", b"\xff"),
}


@pytest.mark.parametrize("material", USELESS.values(), ids=USELESS)
def test_what_is_of_no_use_is_made_anew(material: Material) -> None:
    assert due(material, NAMES) is None
    made = renew(material, NAMES, START)
    assert due(made, NAMES) is not None
    assert believes(made.authorities, made.certificate, START)


def test_keys_are_shown_nowhere() -> None:
    assert "PRIVATE" not in repr(MADE)


def test_it_is_what_the_secret_has() -> None:
    assert Material.of(MADE.data) == MADE
    assert set(MADE.data) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
