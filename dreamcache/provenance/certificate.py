"""What a signer's certificate says of itself: whose it is, until when, and whether it is for trying out only.

Whether an authority vouches for it is for readers to judge, by their trust list. Knows X.509; signs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dreamcache.core.errors import DreamCacheError, SigningError
from dreamcache.provenance.development import ROLE
from dreamcache.storage.open_store import read_bounded

SOON = timedelta(days=30)
MAX_PEM = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateFacts:
    """name: organization and common name. is_development: of `dreamcache provenance init`, or signed by itself."""

    name: str
    begins_on: datetime
    ends_on: datetime
    is_development: bool

    def problem(self, now: datetime | None = None) -> str | None:
        """What stands against publishing images signed with it, None for nothing."""
        moment = now or datetime.now(UTC)
        if not self.begins_on <= moment < self.ends_on:
            return f"not valid: it holds from {self.begins_on:%Y-%m-%d} to {self.ends_on:%Y-%m-%d}"
        if self.is_development:
            return "for development, readers report it as untrusted"
        if moment > self.ends_on - SOON:
            return f"it ends on {self.ends_on:%Y-%m-%d}"
        return None

    @property
    def is_valid(self) -> bool:
        return self.begins_on <= datetime.now(UTC) < self.ends_on


def certificate_facts(location: str) -> CertificateFacts:
    """Of the first certificate of a PEM file. Raises SigningError `bad_certificate`, `no_c2pa`."""
    try:
        from cryptography import x509
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise SigningError(
            f"provenance.c2pa.certificate: is read with the package cryptography, which is missing ({error}); "
            "pip install 'dreamcache[c2pa]'",
            code="no_c2pa",
        ) from error
    try:
        first = x509.load_pem_x509_certificates(read_bounded(location, MAX_PEM))[0]
        names = [
            str(attribute.value)
            for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
            for attribute in first.subject.get_attributes_for_oid(oid)
        ]
    except (OSError, ValueError, DreamCacheError) as error:
        raise SigningError(
            f"provenance.c2pa.certificate '{location}': must be a readable PEM chain, got '{error}'; correct it",
            code="bad_certificate",
        ) from error
    return CertificateFacts(
        name=", ".join(names) or "no name",
        begins_on=first.not_valid_before_utc,
        ends_on=first.not_valid_after_utc,
        is_development=any(ROLE in name for name in names) or first.issuer == first.subject,
    )
