"""Several photos of one product: the name of a set, and its form in a row of the plan.

    keys of photos, as a family orders them --set_key--> the cache_key of an item with several photos
    planned photos --written--> Request.photo_set (JSON) --photos_of--> one request a photo, each cached by itself

A set of one photo is that photo: its key and its row are those of an item with one photo. Knows records; knows nothing
of files or models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from dreamcache.core import ids
from dreamcache.core.errors import ImageError
from dreamcache.core.records import Request

MOST_PHOTOS = 64
"""Of one set, whatever a job's `limits.max_photos` is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedPhoto:
    """A photo of a set, as it was planned."""

    image: str
    mask: str | None
    reference_id: str
    cache_key: str


def set_key(keys: Sequence[str]) -> str:
    """Names an ordered set of photos by their cache keys; of one photo, its own key."""
    return keys[0] if len(keys) == 1 else ids.of_values("photo-set", keys=list(keys))


def in_order(photos: Sequence[PlannedPhoto], *, is_ordered: bool) -> tuple[PlannedPhoto, ...]:
    """The photos as the set stands in item ids. Without an order they are sorted by key, and equal ones are one."""
    if is_ordered:
        return tuple(photos)
    return tuple(photo for _, photo in sorted({photo.cache_key: photo for photo in photos}.items()))


def written(photos: Sequence[PlannedPhoto]) -> str | None:
    """`Request.photo_set`; None for one photo."""
    if len(photos) == 1:
        return None
    return json.dumps([asdict(photo) for photo in photos], ensure_ascii=False, separators=(",", ":"))


def parsed(photo_set: str, where: str) -> tuple[PlannedPhoto, ...]:
    """The photos of a row. Raises ImageError for a text that this release has not written."""
    try:
        values = json.loads(photo_set)
        if not isinstance(values, list) or not 1 < len(values) <= MOST_PHOTOS:
            raise ValueError(f"must be a list of 2 to {MOST_PHOTOS} photos")
        photos = tuple(PlannedPhoto(**value) for value in values)
        for photo in photos:
            if not all(isinstance(text, str) for text in (photo.image, photo.reference_id, photo.cache_key)):
                raise ValueError("image, reference_id and cache_key must be texts")
            if not isinstance(photo.mask, str | None):
                raise ValueError("mask must be a text or null")
    except (ValueError, TypeError, RecursionError) as error:
        raise ImageError(
            f"{where}: photo_set must be the list of photos that the plan has written, got '{photo_set[:80]}' "
            f"({str(error)[:200]}); run the job again",
            code="bad_photo_set",
        ) from error
    return photos


def photos_of(request: Request) -> tuple[Request, ...]:
    """One request for each photo of the item, in the order of the set; with one photo, the request itself.

    Raises ImageError where the photos are not those that the item's cache_key names.
    """
    if request.photo_set is None:
        return (request,)
    where = f"subject '{request.subject_id}'"
    photos = parsed(request.photo_set, where)
    if set_key([photo.cache_key for photo in photos]) != request.cache_key:
        raise ImageError(
            f"{where}: photo_set must hold the photos that cache_key {request.cache_key[:12]} names, holds others; "
            "run the job again",
            code="bad_photo_set",
        )
    return tuple(
        replace(
            request,
            image=photo.image,
            mask=photo.mask,
            reference_id=photo.reference_id,
            cache_key=photo.cache_key,
            photo_set=None,
        )
        for photo in photos
    )
