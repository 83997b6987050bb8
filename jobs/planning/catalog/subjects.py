"""Rows of a catalog become subjects: ids are checked, paths resolved, cells turned into text; a bad row is a value.

Knows our columns; knows no file format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from dreamcache.core.config.fields import MAX_PHOTOS
from dreamcache.core.errors import CatalogError, did_you_mean
from dreamcache.core.locations import FILE_SCHEME, is_object
from dreamcache.core.records import Photo, Subject
from dreamcache.core.texts import shown
from dreamcache.storage.photo_uri import resolve
from jobs.planning.catalog.cells import prompts_of, text_of, typed_of
from jobs.planning.catalog.csv_rows import csv_rows
from jobs.planning.catalog.jsonl_rows import jsonl_rows
from jobs.planning.catalog.parquet_rows import parquet_rows
from jobs.planning.catalog.parts import Part, folder_of
from jobs.planning.catalog.photo_cells import photos_of, repeated_view, too_many
from jobs.planning.catalog.rows import MAX_CELL, MAX_ROWS, BadRow, Row, bad_row, id_problem, too_long
from jobs.planning.catalog.setting_cells import SETTING_COLUMNS, mapped_settings, overrides_in
from jobs.planning.catalog.views import Views

KNOWN_COLUMNS = ("subject_id", "class_name", "image", "mask", "prompts")
MAPPED_COLUMNS = ("images", "view")
"""Ours only where the job file maps them: catalogs have columns of these names with other meanings."""
MAX_PROMPTS = 1_000
"""Of one row."""

Where = tuple[str, int]
"""(a file's name, the number of a row in it)."""
Seen = dict[tuple[str, str], Where]
Reader = Callable[[Part, bytes, tuple[str, str]], Iterator[tuple[int, Row]]]
READERS: dict[str, Reader] = {"csv": csv_rows, "jsonl": jsonl_rows, "parquet": parquet_rows}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How a catalog's rows are read. columns: our names to its own; max_photos: of a subject.

    text_files: names of the parts whose cells have no types. seen: where each subject, or view of one, was read.
    """

    folder: str
    columns: Mapping[str, str]
    class_name: str
    max_photos: int
    text_files: frozenset[str]
    seen: Seen = field(default_factory=dict)


def subjects_of_parts(
    parts: list[Part],
    uri: str,
    columns: Mapping[str, str],
    class_name: str,
    max_photos: int = MAX_PHOTOS,
) -> Iterator[Subject | BadRow]:
    """Subjects and bad rows of all files of a catalog. Raises CatalogError when a file as a whole cannot be read."""
    allowed = (*KNOWN_COLUMNS, *MAPPED_COLUMNS, *SETTING_COLUMNS)
    unknown = sorted(set(columns) - set(allowed))
    if unknown:
        raise CatalogError(
            f"columns: '{unknown[0]}' is not one of {', '.join(allowed)}{did_you_mean(unknown[0], allowed)}"
        )
    reading = Reading(
        folder=folder_of(uri),
        columns=columns,
        class_name=class_name,
        max_photos=max_photos,
        text_files=frozenset(part.name for part in parts if part.form == "csv"),
    )
    if "view" not in columns:
        for where, row in _rows(parts, uri, columns):
            yield _unusable(where, row) if isinstance(row, str) else _subject(row, where, reading)
        return
    rows = (row for _, row in _rows(parts, uri, columns) if not isinstance(row, str))
    views = Views(Counter(text_of(row.get("subject_id")) for row in rows))
    for where, row in _rows(parts, uri, columns):
        if isinstance(row, str):
            yield _unusable(where, row)
            continue
        subject_id = text_of(row.get("subject_id"))
        late = views.is_whole(subject_id)
        read = _unusable(where, CHANGED, subject_id) if late else _subject(row, where, reading)
        if isinstance(read, BadRow):
            yield read
        if not late and (whole := views.add(subject_id, read if isinstance(read, Subject) else None)):
            yield _bounded(whole, where, max_photos)
    for whole in views.rest():
        yield _bounded(whole, (uri, 0), max_photos)


CHANGED = "was added while the catalog was read; run the command again"


def _rows(
    parts: list[Part], uri: str, columns: Mapping[str, str]
) -> Iterator[tuple[Where, dict[str, Any] | str]]:
    """Each row with our columns under our names, or what is wrong with it. Raises CatalogError."""
    photo = columns.get("images", "image") if "image" not in columns else columns["image"]
    needed = (columns.get("subject_id", "subject_id"), photo)
    count = 0
    for part in parts:
        is_checked = part.form == "jsonl"  # a line of JSONL has keys of its own
        for number, raw in READERS[part.form](part, part.read(), needed):
            count += 1
            if count > MAX_ROWS:
                raise CatalogError(f"catalog '{uri}': may have at most {MAX_ROWS:,} rows, has more; split it")
            if isinstance(raw, str):
                yield (part.name, number), raw
                continue
            row = {**part.partition, **raw}
            if not is_checked:
                _check_columns(row, columns, part.uri)
                is_checked = True
            # A column named in the job file wins over one that has our name by chance.
            yield (part.name, number), {**row, **{our: row.get(theirs) for our, theirs in columns.items()}}


def _unusable(where: Where, problem: str, subject_id: str = "") -> BadRow:
    return bad_row(where[1], subject_id, "bad_row", f"{where[0]} row {where[1]}: {problem}")


def _bounded(subject: Subject, where: Where, most: int) -> Subject | BadRow:
    if len(subject.photos) <= most:
        return subject
    problem = (
        f"{where[0]} row {where[1]}: subject '{subject.subject_id}': {too_many(len(subject.photos), most)}"
    )
    return bad_row(where[1], subject.subject_id, "too_many_photos", problem)


def _typed(row: Mapping[str, Any], ours: Set[str], *, is_text_file: bool) -> dict[str, object]:
    """The values of further columns that are no text."""
    values = {
        key: typed_of(value, is_text_file=is_text_file) for key, value in row.items() if key not in ours
    }
    return {key: value for key, value in values.items() if value is not None}


def _subject(row: dict[str, Any], where: Where, reading: Reading) -> Subject | BadRow:
    subject_id = text_of(row.get("subject_id"))
    file, number = where
    columns, folder = reading.columns, reading.folder

    def bad(code: str, message: str) -> BadRow:
        return bad_row(number, subject_id, code, f"{file} row {number}: {message}")

    if problem := id_problem(subject_id):
        return bad("bad_subject_id", problem)
    key = subject_id, text_of(row.get("view")) if "view" in columns else ""
    if key in reading.seen:
        return bad("duplicate_subject", repeated_view(*key, _also(reading.seen[key], file)))
    photos = photos_of(row, is_list="images" in columns)
    if isinstance(photos, str):
        return bad("no_image", f"subject '{subject_id}': {photos}")
    if problem := _location_problem(photos, folder):
        return bad("bad_image_uri", f"subject '{subject_id}': {problem}")
    ours = {*KNOWN_COLUMNS, *(name for name in MAPPED_COLUMNS if name in columns), *mapped_settings(columns)}
    attributes = {key: text_of(value) for key, value in row.items() if key not in ours}
    if problem := _size_problem(attributes, photos, prompts := prompts_of(row.get("prompts"))):
        return bad("bad_row", f"subject '{subject_id}': {problem}")
    try:
        overrides = overrides_in(row, columns)
    except ValueError as error:
        return bad("bad_row", f"subject '{subject_id}': {error}; correct the cell, or leave it empty")
    reading.seen[key] = where
    first, *further = (_resolved(photo, folder) for photo in photos)
    subject = Subject(
        subject_id=subject_id,
        class_name=text_of(row.get("class_name")) or reading.class_name,
        image=first.image,
        mask=first.mask,
        prompts=prompts,
        attributes=attributes,
        further=tuple(further),
        typed=_typed(row, ours, is_text_file=file in reading.text_files),
        overrides=overrides,
    )
    return _bounded(subject, where, reading.max_photos)


def _also(where: Where, file: str) -> str:
    """Another row, as a message about a row of `file` names it."""
    other, number = where
    return f"row {number}" if other == file else f"{other} row {number}"


def _resolved(photo: Photo, folder: str) -> Photo:
    return replace(
        photo,
        image=resolve(photo.image, folder),
        mask=resolve(photo.mask, folder) if photo.mask else None,
    )


def _size_problem(
    attributes: Mapping[str, str], photos: tuple[Photo, ...], prompts: tuple[str, ...]
) -> str | None:
    """What would make one row take the memory or the time of many."""
    texts = [*attributes.items(), *(("prompts", prompt) for prompt in prompts)]
    texts += [pair for photo in photos for pair in (("image", photo.image), ("mask", photo.mask or ""))]
    for name, text in texts:
        if len(text) > MAX_CELL:
            return too_long(name, len(text))
    if len(prompts) > MAX_PROMPTS:
        return f"column 'prompts' may hold at most {MAX_PROMPTS:,} prompts, holds {len(prompts):,}; use several rows"
    return None


def _location_problem(photos: tuple[Photo, ...], folder: str) -> str | None:
    """What is wrong with paths that a catalog in a store of objects names."""
    if not is_object(folder):
        return None
    paths = (path for photo in photos for path in (photo.image, photo.mask))
    local = next((path for path in paths if path and not _is_remote(path)), None)
    return local and (
        f"'{local}': a catalog in {folder.partition('://')[0]}:// may not name files of the machines that read it; "
        "use a URI or a path relative to the catalog"
    )


def _is_remote(path: str) -> bool:
    """Whether a path in a catalog that lies in a store of objects leads to one."""
    return not path.startswith(("/", "~", FILE_SCHEME))


def _check_columns(row: Mapping[str, Any], columns: Mapping[str, str], uri: str) -> None:
    has_list = "images" in columns and "image" not in columns
    for our in dict.fromkeys(("subject_id", "images" if has_list else "image", *columns)):
        theirs = columns.get(our, our)
        if theirs not in row:
            names = list(row)
            listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if names[20:] else "")
            raise CatalogError(
                f"catalog '{uri}': needs a column {shown(theirs)}{did_you_mean(theirs, names)}, "
                f"has {listed or 'none'}; "
                f"rename it, or say which it is in the job file: columns: {{{our}: ...}}"
            )
