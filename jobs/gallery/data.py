"""The gallery's items as one script file. Knows the manifest's columns and how to make text harmless.

A script and not a JSON file, because a page opened from disk may not fetch. Seeds travel as text: they
have 63 bits, and a browser's numbers 53.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from dreamcache.segment import REASONS
from jobs.output.manifest import MANIFEST_COLUMNS

ITEM_COLUMNS = (
    "item_id",
    "subject_id",
    "prompt",
    "sample",
    "seed",
    "status",
    "key",
    "code",
    "message",
    "width",
    "height",
    "image_score",
    "text_score",
    "tries",
    "segment_note",
)
SUBJECT_COLUMNS = ("class_name", "image")
# Written by the job itself; every further column is an attribute of the catalog.
JOB_COLUMNS = frozenset(name for name, _ in MANIFEST_COLUMNS)


def as_script(items: pa.Table, references: Mapping[str, str]) -> bytes:
    """`window.GALLERY_DATA = "<JSON>"` with every character that HTML or script could notice escaped.

    references: address of each subject's thumbnail, relative to the page.
    """
    payload = json.dumps(_payload(items, references), separators=(",", ":"), ensure_ascii=False)
    literal = json.dumps(payload)
    for character in "<>&":
        literal = literal.replace(character, f"\\u{ord(character):04x}")
    return f"window.GALLERY_DATA = {literal};\n".encode("ascii")


def _payload(items: pa.Table, references: Mapping[str, str]) -> dict[str, Any]:
    """Subjects once, prompts and messages once, and rows that point at them."""
    subjects, texts = _Numbered(), _Numbered()
    about: list[list[Any]] = []
    attributes = [name for name in items.column_names if name not in JOB_COLUMNS]
    rows: list[list[Any]] = []
    wanted = [name for name in (*ITEM_COLUMNS, *SUBJECT_COLUMNS, *attributes) if name in items.column_names]
    for batch in items.select(wanted).to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            subject_id = str(row["subject_id"])
            number = subjects.of(subject_id)
            if number == len(about):
                about.append(_subject(row, subject_id, attributes, references.get(subject_id)))
            rows.append([
                str(row["item_id"]), number, texts.of(_text(row.get("prompt"))), row.get("sample"),
                _text(row.get("seed")), _text(row["status"]), quote(_text(row.get("key"))),
                texts.of(_text(row.get("code"))), texts.of(_text(row.get("message"))),
                row.get("width"), row.get("height"), _quality(row), texts.of(_explanation(row.get("segment_note"))),
            ])  # fmt: skip
    return {"subjects": about, "texts": texts.values(), "items": rows}


def _quality(row: Mapping[str, Any]) -> list[Any] | None:
    """[image score, text score, tries] of a job with a quality gate."""
    if row.get("tries") is None:
        return None
    scores = [row.get("image_score"), row.get("text_score")]
    return [*(None if score is None else round(score, 4) for score in scores), row["tries"]]


def _explanation(note: str | None) -> str:
    """Why the whole photo was the reference, for a person; empty where it was not."""
    return f"whole photo used: {REASONS.get(note, note)}" if note else ""


def _subject(
    row: Mapping[str, Any], subject_id: str, attributes: list[str], thumbnail: str | None
) -> list[Any]:
    attribute_pairs = [[_plain(name), _text(row[name])] for name in attributes if _text(row[name])]
    return [subject_id, _text(row.get("class_name")), _text(row.get("image")), thumbnail, attribute_pairs]


def _plain(column: str) -> str:
    """The catalog's own name of a column that the manifest had to rename beside one of the job's."""
    own = column.removeprefix("catalog_")
    return own if own in JOB_COLUMNS else column


def _text(value: object) -> str:
    return "" if value is None else str(value)


class _Numbered:
    """Numbers distinct texts in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def values(self) -> list[str]:
        return list(self._numbers)
