"""The marks of new images, in their order: in the pixels, then encoded with XMP inside, then signed.

A process opens its certificate once (`marker_of`). Knows settings and bytes; nothing of who generates images.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from dreamcache.core.config import ImageFormat
from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.provenance import ProvenanceSettings
from dreamcache.core.errors import SigningError
from dreamcache.provenance import c2pa_read, xmp
from dreamcache.provenance.c2pa_container import has_manifest
from dreamcache.provenance.c2pa_sign import ManifestSigner
from dreamcache.provenance.invisible import InvisibleMark
from dreamcache.provenance.xmp import Statement
from dreamcache.storage.image_store import Pixels, encode_image, read_xmp

PRIVATE = ("subject_id", "prompt")
"""Metadata that are published with `provenance.prompt` only."""


class Marker:
    """Marks the images of one job. Raises SigningError when the certificate or its package cannot be used."""

    def __init__(self, settings: ProvenanceSettings, job: str) -> None:
        self.settings = settings
        self.job = job
        self._signer = ManifestSigner(settings.c2pa) if settings.c2pa is not None else None
        self._invisible = InvisibleMark(settings.invisible) if settings.invisible is not None else None

    def in_pixels(self, rgb: Pixels) -> Pixels:
        """The pixels with the invisible mark, where there is one. Raises ImageError, ModelError."""
        return self._invisible.apply(rgb) if self._invisible is not None else rgb

    def encode(self, rgb: Pixels, image_format: ImageFormat, metadata: Mapping[str, str]) -> bytes:
        """The file of an image, uint8 [height, width, 3]; metadata: with `item_id`, `subject_id` and `prompt`.

        Raises ImageError as `encode_image`, SigningError.
        """
        public = {name: text for name, text in metadata.items() if name not in PRIVATE}
        inside = metadata if self.settings.prompt else public
        if self.settings.marking == "off":
            return encode_image(rgb, image_format, inside)
        statement = xmp.generated(
            item_id=metadata["item_id"],
            job=self.job,
            **{name: metadata[name] for name in PRIVATE if self.settings.prompt},
        )
        data = encode_image(self.in_pixels(rgb), image_format, inside, xmp.packet(statement))
        return self._signer.sign(data, image_format.format, statement) if self._signer else data

    def marks_of(self, data: bytes, file_format: str) -> str:
        """`marks_in` of a stored image of this job; the item's id vouches for its invisible mark."""
        written = marks_in(data, file_format)
        return ",".join(name for name in ("invisible" if self._invisible else "", written) if name)


@lru_cache(maxsize=4)
def marker_of(settings: ProvenanceSettings, job: str) -> Marker:
    """This process's marker of a job."""
    return Marker(settings, job)


def check_marks(spec: JobSpec) -> None:
    """Marks an image of a few pixels and reads it again: a wrong certificate ends a run before its first image.

    Raises SigningError.
    """
    settings = spec.provenance.c2pa
    if settings is None and spec.provenance.invisible is None:
        return
    metadata = dict.fromkeys(("item_id", *PRIVATE), "check")
    marker = marker_of(spec.provenance, spec.name)
    data = marker.encode(np.full((64, 64, 3), 127, np.uint8), spec.images, metadata)
    if settings is None:
        return
    result = c2pa_read.read(data, spec.images.format)
    if not result.is_ai:
        raise SigningError(
            f"provenance.c2pa: a file signed with certificate '{settings.certificate}' must be read back as intact, is "
            f"{result.state} ({', '.join(result.problems)}); is the key that of this certificate?",
            code="bad_certificate",
        )


def marks_in(data: bytes, file_format: str) -> str:
    """The layers that a file of ours has, e.g. "xmp,c2pa"; empty for none. Nothing is verified."""
    packet = read_xmp(data)
    statement: Statement | None = xmp.read(packet) if packet else None
    marks = ["xmp"] if statement is not None and statement.is_ai else []
    return ",".join([*marks, *(["c2pa"] if has_manifest(data, file_format) else [])])
