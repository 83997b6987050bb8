"""What a call's subjects must be: features of this base, read as this adapter's are, of one number of photos.

Part of `inputs`, before any pass of a model. Knows features and what a pipeline was built of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dreamcache.inference.rules import InputError, refuse
from dreamcache.model.features import Features, PhotoSet, SubjectFeatures, photos_of

if TYPE_CHECKING:
    from dreamcache.inference.parts import PipelineParts


def check_subjects(pipe: PipelineParts, subjects: Sequence[Features | None]) -> None:
    """Raises InputError for what is no subject, comes from another base, or cannot be stacked in one call."""
    for subject in subjects:
        for photo in subject.photos if isinstance(subject, PhotoSet) else (subject,):
            _check_subject(pipe, photo)
    _check_counts(subjects)


def _check_counts(subjects: Sequence[Features | None]) -> None:
    """Subjects of one call are stacked, so each has the same number of photos."""
    counts = {len({photo.cache_key for photo in photos_of(one)}) for one in subjects if one is not None}
    if len(counts) > 1:
        refuse(
            "subject",
            "subjects of the same number of photos in one call",
            f"{' and '.join(map(str, sorted(counts)))} photos",
            "call once for each number",
        )


def _check_subject(pipe: PipelineParts, subject: object) -> None:
    if subject is None:
        return
    if not isinstance(subject, SubjectFeatures):
        refuse(
            "subject",
            "SubjectFeatures, a PhotoSet of them, or None",
            f"a {type(subject).__name__}",
            "use pipe.encode_reference(photo)",
        )
    if pipe.adapter is None:
        raise InputError("subject: this pipeline has no adapter; load one with from_pretrained(adapter=...)")
    if subject.base_fingerprint != pipe.info.fingerprint:
        raise InputError(
            f"subject: its features come from base {subject.base_fingerprint[:12]}, the loaded base is "
            f"'{pipe.info.name}' ({pipe.info.fingerprint[:12]}); encode the reference again"
        )
    reader = str(subject.settings.get("reader", ""))
    if reader != pipe.reader_name:
        sides = [f"U-Net {name[:12]}" if name else "the base's U-Net" for name in (reader, pipe.reader_name)]
        raise InputError(
            f"subject: its features were read by {sides[0]}, this adapter's are by {sides[1]}; encode the "
            f"reference again with this adapter"
        )
    missing = [place for place in pipe.places if place not in subject.maps]
    if missing:
        raise InputError(
            f"subject: its features lack the adapter's places {', '.join(missing)}; encode the reference again"
        )
