"""Requests, scores, and the append-only parts that store them, in the manner of the job's ledger.

    ScoreRequest --Scorer--> Score --append--> scores/part-<hash>.parquet --read--> score_id -> Score

A score's id is the hash of the image, its prompt, its real photos and the metrics' settings: what has a score is never
computed again, and a changed image has another id. Knows storage and Arrow; knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from dreamcache.core import ids
from dreamcache.core.config.evaluate import METRICS
from dreamcache.storage.part_log import LogSettings, PartFormat, PartLog
from dreamcache.storage.store import join

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
SCORES_LOG = LogSettings(
    format=PartFormat(family="dreamcache.scores/", number=1, schema=SCORE_SCHEMA),
    what="a part of scores",
    code="bad_scores",
    remedy="delete it, and its images are scored again",
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
    """The scores below one evaluation's output. Picklable. StorageError when the location cannot be used."""

    def __init__(self, output_uri: str) -> None:
        self.log = PartLog(join(output_uri, "scores"), SCORES_LOG)

    def append(self, scores: Sequence[Score]) -> None:
        """Writes one part, named by what it holds; repeating an append changes nothing."""
        if not scores:
            return
        rows = [_row(score) for score in sorted(scores, key=lambda score: score.score_id)]
        named = ids.of_values("scores-part", scores=[[row["score_id"], row["code"]] for row in rows])
        self.log.append(named, pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))

    def read(self) -> dict[str, Score]:
        """All scores so far; of two with one id, one without an error wins. Raises StorageError `bad_scores`."""
        scores: dict[str, Score] = {}
        for table in self.log.scan():
            for row in table.to_pylist():
                if row["score_id"] not in scores or row["code"] is None:
                    scores[row["score_id"]] = _score(row)
        return scores


def _row(score: Score) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(score, name, None) for name in SCORE_SCHEMA.names}
    return {**row, **{metric: score.values.get(metric) for metric in METRICS}}


def _score(row: Mapping[str, object]) -> Score:
    values = {metric: row[metric] for metric in METRICS if row[metric] is not None}
    rest = {name: row[name] for name in SCORE_SCHEMA.names if name not in METRICS}
    return Score(values=values, **rest)  # type: ignore[arg-type]
