"""A certificate chain for trying C2PA out: a root and a signer of one's own, which nobody else trusts.

Readers report its signatures as untrusted, unless they are given its root. Knows X.509; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dreamcache.core.errors import SigningError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, KeyUsage, Name

LIFETIME = timedelta(days=365)
SKEW = timedelta(hours=1)
"""Clocks of other machines may be late."""
ALGORITHM = "es256"
ROLE = "not trusted"
"""In the common names of both certificates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DevelopmentChain:
    """PEM texts. chain: the signer's certificate, then the root's. key: of the signer; the root's is thrown away."""

    chain: bytes
    root: bytes
    key: bytes
    ends_on: datetime


def development_chain(operator: str) -> DevelopmentChain:
    """A new chain for `operator`, valid for a year. Raises SigningError `no_c2pa` without the package cryptography."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise SigningError(
            f"development chain: needs the package cryptography ({error}); pip install 'dreamcache[c2pa]'",
            code="no_c2pa",
        ) from error
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ends_on = datetime.now(UTC) + LIFETIME
    root, signer = (
        _certificate(operator, one.public_key(), root_key, ends_on, is_root=one is root_key).public_bytes(
            serialization.Encoding.PEM
        )
        for one in (root_key, key)
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return DevelopmentChain(chain=signer + root, root=root, key=key_pem, ends_on=ends_on)


def _certificate(
    operator: str, public_key: Any, root_key: Any, ends_on: datetime, *, is_root: bool
) -> Certificate:
    """The root's own certificate, or the signer's, which has the purpose that C2PA asks of it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    root_name = _name(operator, f"development root, {ROLE}")
    name = root_name if is_root else _name(operator, f"development signer, {ROLE}")
    limits = x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    builder = (
        x509.CertificateBuilder(root_name, name, public_key, x509.random_serial_number())
        .not_valid_before(ends_on - LIFETIME - SKEW)
        .not_valid_after(ends_on)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(limits, critical=True)
        .add_extension(_usage(signs_certificates=is_root), critical=True)
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(root_key, hashes.SHA256())


def _name(operator: str, role: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    texts = ((NameOID.ORGANIZATION_NAME, operator), (NameOID.COMMON_NAME, role))
    try:
        return x509.Name([x509.NameAttribute(oid, text) for oid, text in texts])
    except ValueError as error:
        raise SigningError(
            f"operator '{operator}': must be a name of 1 to 64 characters, got '{error}'; choose another",
            code="bad_certificate",
        ) from error


def _usage(*, signs_certificates: bool) -> KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
