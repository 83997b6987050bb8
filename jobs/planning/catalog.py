"""Catalogs: CSV, JSONL or Parquet, or a folder of images, read into subjects; a bad row is a value, not an end.

Knows files and columns; knows nothing of prompts' placeholders, models or plans. Never imports torch.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core.errors import CatalogError, did_you_mean
from dreamcache.core.locations import FILE_SCHEME, S3_SCHEME
from dreamcache.core.records import Subject
from dreamcache.storage.open_store import store_for
from dreamcache.storage.photo_uri import resolve

KNOWN_COLUMNS = ("subject_id", "class_name", "image", "mask", "prompts")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MAX_ID_LENGTH = 200
PROMPT_SEPARATOR = "|"

Row = dict[str, Any] | str
"""A row by column name, or what is wrong with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that names no usable subject. `subject_id` is the row's own, cut to a printable length."""

    row: int
    subject_id: str
    code: str
    message: str


def read_catalog(
    uri: str, *, columns: Mapping[str, str] | None = None, class_name: str = "product"
) -> Iterator[Subject | BadRow]:
    """Subjects and bad rows, in catalog order. Image paths are made absolute against the catalog's folder.

    Raises CatalogError when the catalog as a whole cannot be read.
    """
    suffix = PurePosixPath(uri).suffix.lower()
    readers = {".csv": _csv_rows, ".tsv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    if suffix not in readers:
        yield from _folder(uri, class_name)
        return
    try:
        data = store_for(uri).read(uri)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise CatalogError(
            f"catalog '{uri}': must be an existing file or folder, got none; check the path"
        ) from error
    yield from _subjects(readers[suffix](data, uri), uri, columns or {}, class_name)


def _subjects(
    rows: Iterable[tuple[int, Row]], uri: str, columns: Mapping[str, str], class_name: str
) -> Iterator[Subject | BadRow]:
    folder = uri.rpartition("/")[0]
    unknown = sorted(set(columns) - set(KNOWN_COLUMNS))
    if unknown:
        raise CatalogError(
            f"columns: '{unknown[0]}' is not one of {', '.join(KNOWN_COLUMNS)}{did_you_mean(unknown[0], KNOWN_COLUMNS)}"
        )
    seen: dict[str, int] = {}
    by_line = uri.lower().endswith(".jsonl")
    for number, raw in rows:
        if isinstance(raw, str):
            yield BadRow(
                row=number, subject_id="", code="bad_row", message=f"{_name(uri)} row {number}: {raw}"
            )
            continue
        if not by_line:
            _check_columns(raw, columns, uri)
        # A column named in the job file wins over one that has our name by chance.
        row = {**raw, **{our: raw.get(theirs) for our, theirs in columns.items()}}
        yield _subject(row, number, uri, folder, class_name, seen)


def _subject(
    row: dict[str, Any], number: int, uri: str, folder: str, class_name: str, seen: dict[str, int]
) -> Subject | BadRow:
    where = f"{_name(uri)} row {number}"
    subject_id = _text(row.get("subject_id"))

    def bad(code: str, message: str) -> BadRow:
        return BadRow(row=number, subject_id=subject_id[:80], code=code, message=f"{where}: {message}")

    problem = _id_problem(subject_id)
    if problem:
        return bad("bad_subject_id", problem)
    if subject_id in seen:
        return bad(
            "duplicate_subject",
            f"subject_id '{subject_id}': must be unique, is also in row {seen[subject_id]}, which is used; rename one",
        )
    image = _text(row.get("image"))
    if not image:
        return bad("no_image", f"subject '{subject_id}': column 'image' must name a photo, got nothing")
    mask = _text(row.get("mask"))
    outside = [
        path for path in (image, mask) if path and folder.startswith(S3_SCHEME) and not _is_remote(path)
    ]
    if outside:
        return bad(
            "bad_image_uri",
            f"subject '{subject_id}': '{outside[0]}': a catalog in S3 may not name files of the machines that read it; "
            "use an s3:// URI or a path relative to the catalog",
        )
    seen[subject_id] = number
    return Subject(
        subject_id=subject_id,
        class_name=_text(row.get("class_name")) or class_name,
        image=resolve(image, folder),
        mask=resolve(mask, folder) if mask else None,
        prompts=_prompts(row.get("prompts")),
        attributes={key: _text(value) for key, value in row.items() if key not in KNOWN_COLUMNS},
    )


def _id_problem(subject_id: str) -> str | None:
    """SKUs come in all forms; only what no report or terminal can show is refused."""
    if not subject_id:
        return "column 'subject_id' must not be empty"
    if len(subject_id) > MAX_ID_LENGTH:
        got = len(subject_id)
        return f"subject_id '{subject_id[:40]}...': at most {MAX_ID_LENGTH} characters, got {got}; shorten it"
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in subject_id):
        return f"subject_id {ascii(subject_id)[:80]}: must have no control characters; remove them"
    return None


def _prompts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, (list, tuple)) else _text(value).split(PROMPT_SEPARATOR)
    return tuple(text for text in (_text(prompt) for prompt in values) if text)


def _is_remote(path: str) -> bool:
    """Whether a path in a catalog that lies in S3 leads to S3."""
    return not path.startswith(("/", "~", FILE_SCHEME))


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _csv_rows(data: bytes, uri: str) -> Iterator[tuple[int, Row]]:
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    reader = csv.DictReader(text, delimiter="\t" if uri.lower().endswith(".tsv") else ",")
    try:
        # The first line is the header, so that row numbers are those a spreadsheet shows.
        for number, row in enumerate(reader, start=2):
            too_many = "has more cells than the header; quote cells that hold a comma"
            yield number, row if None not in row else too_many
    except UnicodeDecodeError:
        raise CatalogError(
            f"catalog '{uri}': must be UTF-8, byte {_first_bad_byte(data)} is not; save it as UTF-8"
        ) from None
    except csv.Error as error:
        raise CatalogError(
            f"catalog '{uri}': cannot be read as CSV after line {reader.line_num}: {error}"
        ) from error


def _first_bad_byte(data: bytes) -> int:
    """Counted as `utf-8-sig` does, without the mark at the beginning."""
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start
    return len(data)


def _jsonl_rows(data: bytes, uri: str) -> Iterator[tuple[int, Row]]:
    # Bytes, not text: JSON may hold other line ends, such as U+2028, inside its texts.
    for number, line in enumerate(io.BytesIO(data.removeprefix(codecs.BOM_UTF8)), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode())
            json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair can be stored nowhere
        except (ValueError, RecursionError) as error:
            yield number, f"must be a JSON object in UTF-8, got: {error}"
            continue
        yield number, row if isinstance(row, dict) else f"must be a JSON object, got {type(row).__name__}"


def _parquet_rows(data: bytes, uri: str) -> Iterator[tuple[int, Row]]:
    try:
        file = pq.ParquetFile(io.BytesIO(data))
    except pa.ArrowInvalid as error:
        raise CatalogError(f"catalog '{uri}': must be a Parquet file: {error}") from error
    rows = (row for batch in file.iter_batches(4096) for row in batch.to_pylist())
    yield from enumerate(rows, start=1)


def _check_columns(row: Mapping[str, Any], columns: Mapping[str, str], uri: str) -> None:
    names = list(row)
    for our in dict.fromkeys(("subject_id", "image", *columns)):
        theirs = columns.get(our, our)
        if theirs not in row:
            raise CatalogError(
                f"catalog '{uri}': needs a column '{theirs}'{did_you_mean(theirs, names)}, "
                f"has {', '.join(names) or 'none'}; "
                f"rename it, or say which it is in the job file: columns: {{{our}: ...}}"
            )


def _folder(uri: str, class_name: str) -> Iterator[Subject | BadRow]:
    """Photos directly in the folder are subjects by name; of a sub-folder, its first photo is the reference."""
    taken: set[str] = set()
    prefix = uri.rstrip("/") + "/"
    files = sorted(info.uri for info in store_for(uri).list(prefix))
    photos = [photo for photo in files if photo.lower().endswith(IMAGE_SUFFIXES)]
    if not photos:
        raise CatalogError(
            f"catalog '{uri}': must be a .csv, .jsonl or .parquet file, or a folder of images; got none of these"
        )
    for number, photo in enumerate(photos, start=1):
        relative = photo.removeprefix(prefix)
        subject_id = relative.split("/")[0] if "/" in relative else PurePosixPath(relative).stem
        if subject_id in taken:
            if "/" not in relative:
                where = f"{_name(uri)}: photo '{relative}'"
                message = f"{where}: another photo already gives subject '{subject_id}'; rename one"
                yield BadRow(
                    row=number, subject_id=subject_id[:80], code="duplicate_subject", message=message
                )
            continue
        taken.add(subject_id)
        problem = _id_problem(subject_id)
        if problem:
            yield BadRow(
                row=number,
                subject_id=subject_id[:80],
                code="bad_subject_id",
                message=f"{_name(uri)}: {problem}",
            )
        else:
            yield Subject(subject_id=subject_id, class_name=class_name, image=photo)
