"""What is left of a photo's file: its image data, its orientation and its colour profile."""

from __future__ import annotations

from dataclasses import dataclass

PROFILE_BYTES = 16 << 20
"""The largest colour profile that is read; those of printers have up to 3 MB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stripped:
    """data: a file of the same format and the same pixels. orientation: 1 to 8, None: Pillow reports EXIF.

    profile: the ICC profile, None where there is none or Pillow reports it.
    """

    data: bytes
    orientation: int | None = None
    profile: bytes | None = None
