"""Rows of a catalog become subjects: ids are checked, paths resolved, cells turned into text; a bad row is a value.

Knows our columns; knows no file format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dreamcache.core.errors import CatalogError, did_you_mean
from dreamcache.core.locations import FILE_SCHEME, S3_SCHEME
from dreamcache.core.records import Subject
from dreamcache.core.texts import shown
from dreamcache.storage.photo_uri import resolve
from jobs.planning.catalog.cells import prompts_of, text_of
from jobs.planning.catalog.csv_rows import csv_rows
from jobs.planning.catalog.jsonl_rows import jsonl_rows
from jobs.planning.catalog.parquet_rows import EmbeddedImage, parquet_rows
from jobs.planning.catalog.parts import Part, folder_of
from jobs.planning.catalog.rows import MAX_CELL, MAX_ROWS, BadRow, Row, bad_row, id_problem, too_long
from jobs.planning.catalog.setting_cells import SETTING_COLUMNS, mapped_settings, overrides_in

KNOWN_COLUMNS = ("subject_id", "class_name", "image", "mask", "prompts")
MAX_PROMPTS = 1_000
"""Of one row."""

Where = tuple[str, int]
"""(a file's name, the number of a row in it)."""
Seen = dict[str, Where]
Reader = Callable[[Part, bytes, tuple[str, str]], Iterator[tuple[int, Row]]]
READERS: dict[str, Reader] = {"csv": csv_rows, "jsonl": jsonl_rows, "parquet": parquet_rows}


def subjects_of_parts(
    parts: list[Part], uri: str, columns: Mapping[str, str], class_name: str
) -> Iterator[Subject | BadRow]:
    """Subjects and bad rows of all files of a catalog. Raises CatalogError when a file as a whole cannot be read."""
    allowed = (*KNOWN_COLUMNS, *SETTING_COLUMNS)
    unknown = sorted(set(columns) - set(allowed))
    if unknown:
        raise CatalogError(
            f"columns: '{unknown[0]}' is not one of {', '.join(allowed)}{did_you_mean(unknown[0], allowed)}"
        )
    needed = (columns.get("subject_id", "subject_id"), columns.get("image", "image"))
    folder = folder_of(uri)
    seen: Seen = {}
    count = 0
    for part in parts:
        name, is_checked = part.name, part.form == "jsonl"  # a line of JSONL has keys of its own
        for number, raw in READERS[part.form](part, part.read(), needed):
            count += 1
            if count > MAX_ROWS:
                raise CatalogError(f"catalog '{uri}': may have at most {MAX_ROWS:,} rows, has more; split it")
            where = (name, number)
            if isinstance(raw, str):
                yield bad_row(number, "", "bad_row", f"{name} row {number}: {raw}")
                continue
            row = {**part.partition, **raw}
            if not is_checked:
                _check_columns(row, columns, part.uri)
                is_checked = True
            # A column named in the job file wins over one that has our name by chance.
            row = {**row, **{our: row.get(theirs) for our, theirs in columns.items()}}
            yield _subject(row, where, folder, class_name, seen, columns)


def _subject(
    row: dict[str, Any],
    where: Where,
    folder: str,
    class_name: str,
    seen: Seen,
    columns: Mapping[str, str],
) -> Subject | BadRow:
    subject_id = text_of(row.get("subject_id"))
    file, number = where

    def bad(code: str, message: str) -> BadRow:
        return bad_row(number, subject_id, code, f"{file} row {number}: {message}")

    problem = id_problem(subject_id)
    if problem:
        return bad("bad_subject_id", problem)
    if subject_id in seen:
        other, row_number = seen[subject_id]
        also = f"row {row_number}" if other == file else f"{other} row {row_number}"
        return bad(
            "duplicate_subject",
            f"subject_id '{subject_id}': must be unique, is also in {also}, which is used; rename one",
        )
    image, mask = _path(row.get("image")), _path(row.get("mask"))
    if not image:
        got = "the photo itself; write it to a file and name that" if row.get("image") else "nothing"
        return bad("no_image", f"subject '{subject_id}': column 'image' must name a photo, got {got}")
    if problem := _location_problem((image, mask), folder):
        return bad("bad_image_uri", f"subject '{subject_id}': {problem}")
    ours = {*KNOWN_COLUMNS, *mapped_settings(columns)}
    attributes = {key: text_of(value) for key, value in row.items() if key not in ours}
    prompts = prompts_of(row.get("prompts"))
    problem = _size_problem({**attributes, "image": image, "mask": mask}, prompts)
    if problem:
        return bad("bad_row", f"subject '{subject_id}': {problem}")
    try:
        overrides = overrides_in(row, columns)
    except ValueError as error:
        return bad("bad_row", f"subject '{subject_id}': {error}; correct the cell, or leave it empty")
    seen[subject_id] = where
    return Subject(
        subject_id=subject_id,
        class_name=text_of(row.get("class_name")) or class_name,
        image=resolve(image, folder),
        mask=resolve(mask, folder) if mask else None,
        prompts=prompts,
        attributes=attributes,
        overrides=overrides,
    )


def _size_problem(texts: Mapping[str, str], prompts: tuple[str, ...]) -> str | None:
    """What would make one row take the memory or the time of many."""
    for name, text in [*texts.items(), *(("prompts", prompt) for prompt in prompts)]:
        if len(text) > MAX_CELL:
            return too_long(name, len(text))
    if len(prompts) > MAX_PROMPTS:
        return f"column 'prompts' may hold at most {MAX_PROMPTS:,} prompts, holds {len(prompts):,}; use several rows"
    return None


def _path(value: Any) -> str:
    """The path in a cell; "" for none, and for a photo that stands in the catalog itself."""
    if isinstance(value, EmbeddedImage):
        return text_of(value.path)
    if isinstance(value, Mapping):  # {"path": ..}, as datasets write photos into JSON
        value = value.get("path")
    return text_of(value) if isinstance(value, str | bytes | float | int) else ""


def _location_problem(paths: tuple[str, str], folder: str) -> str | None:
    """What is wrong with paths that a catalog in S3 names."""
    if not folder.startswith(S3_SCHEME):
        return None
    local = next((path for path in paths if path and not _is_remote(path)), None)
    return local and (
        f"'{local}': a catalog in S3 may not name files of the machines that read it; use an s3:// URI or a path "
        "relative to the catalog"
    )


def _is_remote(path: str) -> bool:
    """Whether a path in a catalog that lies in S3 leads to S3."""
    return not path.startswith(("/", "~", FILE_SCHEME))


def _check_columns(row: Mapping[str, Any], columns: Mapping[str, str], uri: str) -> None:
    for our in dict.fromkeys(("subject_id", "image", *columns)):
        theirs = columns.get(our, our)
        if theirs not in row:
            names = list(row)
            listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if names[20:] else "")
            raise CatalogError(
                f"catalog '{uri}': needs a column {shown(theirs)}{did_you_mean(theirs, names)}, "
                f"has {listed or 'none'}; "
                f"rename it, or say which it is in the job file: columns: {{{our}: ...}}"
            )
