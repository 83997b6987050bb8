"""The gallery's items as script files, a part each. Knows the manifest's columns and how to make text harmless.

A script and not a JSON file, because a page opened from disk may not fetch. Seeds travel as text: they
have 63 bits, and a browser's numbers 53.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from dreamcache.segment import REASONS
from dreamcache.storage.json_object import JsonObject
from jobs.output.manifest import MANIFEST_COLUMNS
from jobs.output.review_columns import names_of

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
    "review",
    "reviewer",
    "review_reason",
    "review_note",
    "reviewed_at",
)
SUBJECT_COLUMNS = ("class_name", "image")
# Written by the job itself; every further column is an attribute of the catalog.
JOB_COLUMNS = frozenset(name for name, _ in MANIFEST_COLUMNS)
NO_SCORES = ("seconds", "gpu_seconds", "width", "height", "num_bytes", "sample", "seed", "attempts")
"""Numbers that say nothing of how good an image is."""


def as_scripts(
    items: pa.Table, references: Mapping[str, str], about: JsonObject, *, rows: int
) -> Iterator[tuple[str, bytes]]:
    """(name, script) of each part: data.js, then data-00001.js and so on, at most `rows` items a part.

    references: address of each subject's thumbnail, relative to the page. about: for the first part, which also says
    how many there are and which columns are scores.
    """
    scores = score_columns(items.schema)
    num_parts = max(1, -(-items.num_rows // rows))
    for part in range(num_parts):
        payload = _payload(items.slice(part * rows, rows), references, scores)
        if part == 0:
            payload = {"about": {**about, "parts": num_parts, "scores": scores}, **payload}
        yield "data.js" if part == 0 else f"data-{part:05d}.js", _script(payload)


def score_columns(schema: pa.Schema) -> list[str]:
    """The job's own columns of numbers that say how good an image is, whatever their names are."""
    return [
        field.name
        for field in schema
        if _is_number(field.type) and field.name in JOB_COLUMNS and field.name not in NO_SCORES
    ]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _script(payload: Mapping[str, Any]) -> bytes:
    """`window.GALLERY_DATA = "<JSON>"` with every character that HTML or script could notice escaped."""
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    literal = json.dumps(text)
    for character in "<>&":
        literal = literal.replace(character, f"\\u{ord(character):04x}")
    return f"window.GALLERY_DATA = {literal};\n".encode("ascii")


def _payload(items: pa.Table, references: Mapping[str, str], scores: Sequence[str]) -> dict[str, Any]:
    """Subjects once, prompts and messages once, and rows that point at them."""
    subjects, texts = _Numbered(), _Numbered()
    about: list[list[Any]] = []
    attributes = [name for name in items.column_names if name not in JOB_COLUMNS]
    rows: list[list[Any]] = []
    wanted = dict.fromkeys((*ITEM_COLUMNS, *SUBJECT_COLUMNS, *scores, *attributes))
    present = [name for name in wanted if name in items.column_names]
    for batch in items.select(present).to_batches(max_chunksize=4096):
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
                [_rounded(row[name]) for name in scores], _review(row, texts),
            ])  # fmt: skip
    return {"subjects": about, "texts": texts.values(), "items": rows}


def _review(row: Mapping[str, Any], texts: _Numbered) -> list[Any] | None:
    """[state, reviewers, reason, note, milliseconds] of an image that someone has reviewed."""
    state = row.get("review")
    if state in (None, "pending"):
        return None
    return [
        state,
        [texts.of(name) for name in names_of(_text(row.get("reviewer")))],
        *(texts.of(_text(row.get(name))) for name in ("review_reason", "review_note")),
        round(row["reviewed_at"].timestamp() * 1000) if row.get("reviewed_at") else 0,
    ]


def _rounded(score: float | None) -> float | None:
    return round(score, 4) if score is not None and math.isfinite(score) else None


def _quality(row: Mapping[str, Any]) -> list[Any] | None:
    """[image score, text score, tries] of a job with a quality gate."""
    if row.get("tries") is None:
        return None
    scores = [row.get("image_score"), row.get("text_score")]
    return [*map(_rounded, scores), row["tries"]]


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
