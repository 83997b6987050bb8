"""What a job's image says of its origin, carried into a new file: XMP as it was, C2PA signed again.

A re-encoded file breaks its signature, so it is signed with the certificate of the job file that the user names; the
job.yaml of an output folder is never used for that: it may come from anyone, and names commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dreamcache.core.config.provenance import C2paSettings
from dreamcache.core.errors import ImageError, SigningError
from dreamcache.provenance import xmp
from dreamcache.provenance.c2pa_container import has_manifest
from dreamcache.provenance.c2pa_sign import ManifestSigner
from dreamcache.provenance.xmp import Statement
from dreamcache.storage.image_store import read_metadata, read_xmp

FORMATS = {"png": "png", "jpg": "jpeg", "webp": "webp"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelMarks:
    """Of one stored image. packet: its XMP. is_signed: whether it holds a C2PA manifest."""

    metadata: Mapping[str, str]
    statement: Statement | None
    packet: bytes | None
    is_signed: bool


def marks_of(data: bytes, extension: str) -> ChannelMarks:
    """Of a job's image. Raises ImageError when it is none."""
    packet = read_xmp(data)
    statement = xmp.read(packet) if packet else None
    try:
        metadata = read_metadata(data)
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"image file cannot be decoded: {error}", code="damaged_image") from error
    return ChannelMarks(
        metadata=metadata,
        statement=statement,
        packet=xmp.packet(statement) if statement is not None else None,
        is_signed=has_manifest(data, FORMATS.get(extension, extension)),
    )


class Signer:
    """Signs again what was signed. For one thread at a time. Raises SigningError when the certificate is unusable.

    settings: of the job file; None where there is none, and then an image that was signed is refused, unless
    unsigned is allowed.
    """

    def __init__(self, settings: C2paSettings | None, *, unsigned: bool) -> None:
        self._signer = ManifestSigner(settings) if settings is not None and not unsigned else None
        self.unsigned = unsigned

    def sign(self, data: bytes, marks: ChannelMarks, file_format: str) -> bytes:
        """The file with a manifest, if the image had one. Raises SigningError."""
        if not marks.is_signed or self.unsigned:
            return data
        if self._signer is None:
            raise SigningError(
                "image is signed (C2PA), and a new file needs a new signature: must have the certificate of the job "
                "file, got none; name the job file instead of its output folder, or --unsigned to publish XMP alone",
                code="bad_certificate",
            )
        statement = marks.statement or Statement()
        return self._signer.sign(data, file_format, statement)
