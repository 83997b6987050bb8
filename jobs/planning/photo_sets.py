"""A subject's photos as a family reads them: which are planned, in which order, under which keys.

Knows subjects and families; knows nothing of prompts or rows.
"""

from __future__ import annotations

from dreamcache.core import ids
from dreamcache.core.photo_sets import PlannedPhoto, in_order
from dreamcache.core.records import Subject
from dreamcache.inference.families import Family
from jobs.planning.catalog import BadRow
from jobs.planning.catalog.rows import bad_row
from jobs.planning.references import ReadPhotos


def planned_photos(
    subject: Subject, photos: ReadPhotos, keys: ids.Template, family: Family
) -> tuple[PlannedPhoto, ...]:
    """The set as it stands in item ids. keys: `records.features_template` of the subject's class."""
    planned = [
        PlannedPhoto(
            image=photo.image,
            mask=photo.mask,
            reference_id=reference.reference_id,
            cache_key=keys.key(reference=reference.reference_id),
        )
        for photo, reference in zip(subject.photos, photos.references, strict=True)
    ]
    return in_order(planned, is_ordered=family.photos == "sequence")


def reads_one_photo(subject: Subject, method: str) -> BadRow:
    """Of a subject with several photos, for a method that reads one."""
    rule = f"method '{method}' reads one photo of a product, got {len(subject.photos)}"
    message = f"subject '{subject.subject_id}': {rule}; name one, or choose another method"
    return bad_row(0, subject.subject_id, "too_many_photos", message)
