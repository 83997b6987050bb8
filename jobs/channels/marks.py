"""What a job's image says of its origin, carried into a new file: XMP as it was, C2PA signed again.

A re-encoded file breaks its signature, so it is signed with the certificate of the job file that the user names; the
job.yaml of an output folder is never used for that: it may come from anyone, and names commands. So may the images: one
is signed again only where this operator's intact signature names its item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dreamcache.core.config.provenance import C2paSettings
from dreamcache.core.errors import SigningError
from dreamcache.provenance import c2pa_read, xmp
from dreamcache.provenance.c2pa_container import has_manifest
from dreamcache.provenance.c2pa_read import C2paFinding
from dreamcache.provenance.c2pa_sign import ManifestSigner
from dreamcache.provenance.xmp import Statement
from dreamcache.storage.image_store import read_metadata, read_xmp, stored_pixel_sha256

FORMATS = {"png": "png", "jpg": "jpeg", "webp": "webp"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelMarks:
    """Of one stored image. packet: its XMP. is_signed: whether it holds a C2PA container, of whatever content.

    statement: what its XMP says; after `Signer.checked`, what the operator's manifest says. doubt: why the image must
    not be signed as the operator's; empty where nothing stands against it.
    """

    metadata: Mapping[str, str]
    statement: Statement | None
    packet: bytes | None
    is_signed: bool
    file_format: str
    doubt: str = ""


def marks_of(data: bytes, extension: str) -> ChannelMarks:
    """Of a job's image. Raises ImageError when it is none."""
    packet = read_xmp(data)
    statement = xmp.read(packet) if packet else None
    file_format = FORMATS.get(extension, extension)
    return ChannelMarks(
        metadata=read_metadata(data),
        statement=statement,
        packet=xmp.packet(statement) if statement is not None else None,
        is_signed=has_manifest(data, file_format),
        file_format=file_format,
    )


class Signer:
    """Signs again what was signed. For one thread at a time. Raises SigningError when the certificate is unusable.

    settings: of the job file; None where there is none, and then an image that was signed is refused, unless
    unsigned is allowed.
    """

    def __init__(self, settings: C2paSettings | None, *, unsigned: bool) -> None:
        self._signer = ManifestSigner(settings) if settings is not None and not unsigned else None
        self.unsigned = unsigned

    def checked(self, data: bytes, marks: ChannelMarks, row: Mapping[str, object]) -> ChannelMarks:
        """The marks with what the image's own manifest says, or with a doubt. data, row: of the stored image.

        For any number of threads. Nothing is checked where nothing is signed.
        """
        if self._signer is None or not marks.is_signed:
            return marks
        found = c2pa_read.read(data, marks.file_format, operators=[self._signer.chain])
        doubt = _doubt(found, row) or _other_pixels(data, row)
        if doubt:
            return replace(marks, doubt=doubt)
        stated = {name: getattr(found, name) for name in ("item_id", "job", "subject_id", "prompt")}
        return replace(marks, statement=Statement(source_type=found.source_type, **stated))

    def sign(self, data: bytes, marks: ChannelMarks, file_format: str) -> bytes:
        """The file with a manifest, if the image had one. marks: `checked`. Raises SigningError."""
        if not marks.is_signed or self.unsigned:
            return data
        if self._signer is None:
            raise SigningError(
                "image is signed (C2PA), and a new file needs a new signature: must have the certificate of the job "
                "file, got none; name the job file instead of its output folder, or --unsigned to publish XMP alone",
                code="bad_certificate",
            )
        if marks.doubt:
            raise SigningError(marks.doubt, code="not_signed")
        return self._signer.sign(data, file_format, marks.statement or Statement())


def _doubt(found: C2paFinding, row: Mapping[str, object]) -> str:
    """Why a manifest is not the operator's word about this item; empty where it is."""
    if found.state not in ("untrusted", "valid"):
        codes = f" ({', '.join(found.problems)[:120]})" if found.problems else ""
        return f"a C2PA container whose manifest is {found.state}{codes}: restore the file, or retry its item"
    if not found.by_operator:
        return (
            f"a manifest signed by '{(found.signer or 'nobody')[:80]}', not with the certificate of the job file: name "
            "the job file that the image was generated with, or --unsigned to publish XMP alone"
        )
    if found.item_id != row["item_id"]:
        return (
            f"the signed image of item {(found.item_id or 'none')[:12]}: restore the file, or retry its item"
        )
    return ""


def _other_pixels(data: bytes, row: Mapping[str, object]) -> str:
    """Whether the manifest's row records other pixels; "" for a row that records none. Raises ImageError."""
    recorded = row.get("pixel_sha256")
    if not recorded or stored_pixel_sha256(data) == recorded:
        return ""
    return f"other pixels than its record, sha256 {str(recorded)[:12]}: restore the file, or retry its item"
