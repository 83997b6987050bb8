"""The photos that a row names: one in column `image`, or several in `images` where the job file maps that column.

    image, images, mask: cells --photos_of--> (Photo, ..) as the row names them, or what is wrong

`images` is a list (JSON, Parquet), or text with `|` between the paths; with `image` beside it, that is the first. One
mask is the first photo's; else there is one for each, and an empty one is none. Knows cells; knows nothing of files.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from dreamcache.core.records import Photo
from dreamcache.core.texts import shown
from jobs.planning.catalog.cells import PROMPT_SEPARATOR, text_of
from jobs.planning.catalog.parquet_rows import EmbeddedImage

MOST_NAMED = 1_000
"""Paths of one cell: more of them are no product's photos."""


def path_of(value: object) -> str:
    """The path in a cell; "" for none, and for a photo that stands in the catalog itself."""
    if isinstance(value, EmbeddedImage):
        return text_of(value.path)
    if isinstance(value, Mapping):  # {"path": ..}, as datasets write photos into JSON
        value = value.get("path")
    return text_of(value) if isinstance(value, str | bytes | float | int) else ""


def photos_of(row: Mapping[str, object], *, is_list: bool) -> tuple[Photo, ...] | str:
    """The photos of a row as it names them, or what is wrong. is_list: whether column `images` is one of ours."""
    image, mask = path_of(row.get("image")), row.get("mask")
    if not is_list:
        return _paired([image], [path_of(mask)]) if image else _no_photo(row.get("image"), "image")
    images, masks = _members(row.get("images")), _members(mask)
    if max(len(images), len(masks)) > MOST_NAMED:
        return f"column 'images' may name at most {MOST_NAMED:,} photos, names more; remove some"
    named = [path for path in (image, *images) if path]
    if not named:
        return _no_photo(row.get("images") or row.get("image"), "images")
    if not any(masks):
        masks = []
    if len(masks) > 1 and len(masks) != len(named):
        return (
            f"column 'mask' must name one mask for each of the {len(named)} photos (an empty one for none), names "
            f"{len(masks)}; name as many"
        )
    return _paired(named, masks)


def _paired(images: list[str], masks: list[str]) -> tuple[Photo, ...]:
    """A photo that is named twice counts once."""
    masks = masks + [""] * (len(images) - len(masks))
    photos = (Photo(image=image, mask=mask or None) for image, mask in zip(images, masks, strict=True))
    return tuple(dict.fromkeys(photos))


def _no_photo(value: object, column: str) -> str:
    got = "the photo itself; write it to a file and name that" if value else "nothing"
    return f"column '{column}' must name a photo, got {got}"


def _members(value: Any) -> list[str]:
    """Paths of a list, of a text with separators, or of a list that was written as text; empty ones stay."""
    if isinstance(value, str) and value.strip().startswith("[") and value.strip().endswith("]"):
        value = _list_in_text(value.strip())
    if isinstance(value, list | tuple):
        return [path_of(member) for member in value]
    text = path_of(value)
    return [part.strip() for part in text.split(PROMPT_SEPARATOR)] if text else []


def _list_in_text(text: str) -> Any:
    """A list as programs write it into one cell, in JSON or as Python shows it; the text where it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list) and all(isinstance(member, str) for member in value):
            return value
    return text


def too_many(count: int, most: int) -> str:
    """What is wrong with a subject of more photos than a job takes."""
    return (
        f"a product may have at most {most} photos, has {count}; name fewer, or raise limits.max_photos in the job "
        f"file"
    )


def repeated_view(subject_id: str, view: str, also: str) -> str:
    """What is wrong with a row whose subject and view another row has."""
    if not view:
        return f"subject_id '{subject_id}': must be unique, is also in {also}, which is used; rename one"
    return (
        f"subject_id '{subject_id}': view {shown(view)} must be unique, is also in {also}, which is used; name "
        "another view"
    )
