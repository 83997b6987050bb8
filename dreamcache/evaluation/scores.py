"""Requests, scores, and the append-only parts that store them, in the manner of the job's ledger.

    ScoreRequest --Scorer--> Score --append--> scores/part-<hash>.parquet --read--> score_id -> Score

A score's id is the hash of the image, its prompt, its real photos and the metrics' settings: what has a score is never
computed again, and a changed image has another id. Knows storage and Arrow; knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from dreamcache.core import ids
from dreamcache.core.config.evaluate import METRICS
from dreamcache.core.errors import StorageError
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.sealed_parquet import seal, unseal

SCHEMA_VERSION = "dreamcache.scores/1"
READERS = 16
SCORE_SCHEMA = pa.schema(
    [
        pa.field("score_id", pa.string(), nullable=False),
        pa.field("code", pa.string()),
        pa.field("message", pa.string()),
        *(pa.field(metric, pa.float64()) for metric in METRICS),
        pa.field("found", pa.bool_()),
        pa.field("reason", pa.string()),
        pa.field("num_real", pa.int32()),
        pa.field("num_real_found", pa.int32()),
        pa.field("num_real_unreadable", pa.int32()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RealPhoto:
    """A real photo of a subject, by content; mask: for the masked metrics."""

    photo_id: str
    uri: str
    mask: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRequest:
    """One image to score. prompt: None where it is unknown, which omits CLIP-T."""

    score_id: str
    subject_id: str
    class_name: str
    image: str
    prompt: str | None
    real: tuple[RealPhoto, ...]
    mask: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """values: by metric, None or absent where there is none; or a code and message and no values.

    found: whether the segmenter found the subject in the image, None without masked metrics; reason: why not.
    num_real, num_real_found, num_real_unreadable: real photos compared with, those with a segment, those omitted.
    """

    score_id: str
    values: Mapping[str, float | None] = field(default_factory=dict)
    found: bool | None = None
    reason: str | None = None
    num_real: int = 0
    num_real_found: int | None = None
    num_real_unreadable: int = 0
    code: str | None = None
    message: str | None = None


def score_id(
    *,
    image: str,
    prompt: str | None,
    class_name: str,
    real: Sequence[RealPhoto],
    settings: str,
    mask: str | None = None,
) -> str:
    """Hash of all that decides the score. image: a hash of its content; settings: `sources.fingerprint`."""
    photos = sorted([photo.photo_id, photo.mask] for photo in real)
    return ids.of_values(
        "score",
        image=image,
        mask=mask,
        prompt=prompt,
        class_name=class_name,
        real=[list(photo) for photo in photos],
        settings=settings,
    )


class Scores:
    """The scores below one evaluation's output. Picklable. StorageError when the place cannot be used."""

    def __init__(self, output_uri: str) -> None:
        self.uri = join(output_uri, "scores")
        self._store = store_for(output_uri)

    def append(self, scores: Sequence[Score]) -> None:
        """Writes one part, named by what it holds; repeating an append changes nothing."""
        if not scores:
            return
        rows = [_row(score) for score in sorted(scores, key=lambda score: score.score_id)]
        named = ids.of_values("scores-part", scores=[[row["score_id"], row["code"]] for row in rows])
        table = pa.Table.from_pylist(rows, schema=SCORE_SCHEMA)
        data = seal(table, {"dreamcache.schema": SCHEMA_VERSION})
        self._store.create(join(self.uri, f"part-{named}.parquet"), data)

    def read(self) -> dict[str, Score]:
        """All scores so far; of two with one id, one without an error wins. Raises StorageError `bad_scores`."""
        parts = sorted(info.uri for info in self._store.list(self.uri) if info.uri.endswith(".parquet"))
        with ThreadPoolExecutor(READERS, thread_name_prefix="scores") as pool:
            tables = list(pool.map(self._read_part, parts))
        found: dict[str, Score] = {}
        for table in tables:
            for row in table.to_pylist():
                if row["score_id"] not in found or row["code"] is None:
                    found[row["score_id"]] = _score(row)
        return found

    def _read_part(self, uri: str) -> pa.Table:
        try:
            table, metadata = unseal(self._store.read(uri))
            if metadata.get("dreamcache.schema") != SCHEMA_VERSION or not table.schema.equals(SCORE_SCHEMA):
                raise ValueError(f"schema must be {SCHEMA_VERSION}, got {metadata.get('dreamcache.schema')}")
        except (ValueError, FileNotFoundError) as error:
            raise StorageError(
                f"{uri}: a sound part of scores is needed, got one that {error}; delete it, and its images are "
                f"scored again",
                code="bad_scores",
            ) from error
        return table


def _row(score: Score) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(score, name, None) for name in SCORE_SCHEMA.names}
    return {**row, **{metric: score.values.get(metric) for metric in METRICS}}


def _score(row: Mapping[str, object]) -> Score:
    values = {metric: row[metric] for metric in METRICS if row[metric] is not None}
    rest = {name: row[name] for name in SCORE_SCHEMA.names if name not in METRICS}
    return Score(values=values, **rest)  # type: ignore[arg-type]
