"""The generator worker: holds the model and turns batches of rows, of any mix of subjects, into pixels.

Behind a quality gate it holds the encoders of the scores too, and generates again what is not good enough. Where the
job overlaps decoding, a call returns once its batch is denoised, and the rest follows beside the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dreamcache.core.records import Blocked, Failed
from workers.attempt_plan import AttemptPlan
from workers.batches import packed, unpacked
from workers.context import JobContext, request_of
from workers.guard import Watch
from workers.tables import GENERATED, NO_PIXELS
from workers.telemetry import Telemetry

if TYPE_CHECKING:
    from dreamcache.inference.outcome import GenerationOutcome
    from dreamcache.inference.overlap import Overlapped

Rows = dict[str, dict[str, Any]]
"""By item id."""


class GenerateWorker:
    """Ray actor. Rows that carry an error pass through; the others get pixels or an error of their own."""

    overlapped: Overlapped[Any] | None = None
    """For jobs that overlap decoding."""

    def __init__(self, context: JobContext, watch: Watch) -> None:
        from dreamcache.inference.overlap import Overlapped

        self.telemetry = Telemetry(context.spec.output, "generator")
        self.watch = watch
        self.watch.join("generator")
        session = context.open_session()
        self.references = session.references
        self.references.on_refused = watch.refuse
        self.generator = session.generator()
        self.gated = session.gate(self.generator)
        self.num_tries = context.spec.quality.tries if context.spec.quality else 1
        self.device = session.device_name
        if context.spec.overlaps_decoding:
            self.overlapped = Overlapped(self.generator)
        session.warm_up(self.generator)
        self.telemetry.warmed()
        watch.ready()

    def __call__(self, block: pa.Table) -> pa.Table | Iterator[pa.Table]:
        """`generate` for Ray Data, see `workers.batches`. What is an iterator is run through in another thread."""
        batch = unpacked(block)
        if self.overlapped is None:
            return packed([self.generate(batch)])
        finish = self.begin(batch)
        return (packed([table()]) for table in [finish])

    def generate(self, batch: pa.Table) -> pa.Table:
        """PLANNED or ENCODED in, GENERATED out."""
        with self.watch.shutdown.batch():
            rows, work = self._sorted(batch)
            for group in work.groups:
                with self.watch.attempt(group, batches=self.num_tries, subjects=_subjects(rows, group)):
                    outcomes = self.gated.generate([request_of(rows[item]) for item in group])
                self._add_notes(rows, group)
                self._add(rows, outcomes)
        return self._table(rows, self.generator.take_note())

    def begin(self, batch: pa.Table) -> Callable[[], pa.Table]:
        """Denoises a batch; what it returns does the rest of `generate`, once, in any thread, beside the next call."""
        assert self.overlapped is not None
        self.watch.shutdown.begin()
        try:
            rows, work = self._sorted(batch)
            if len(work.groups) != 1 or work.suspects:
                outcomes = self.overlapped.alone(lambda: self._of_groups(rows, work))
                for group in work.groups:
                    self._add_notes(rows, group)
                self._add(rows, outcomes)
                return lambda: self._ended(rows)
            [group] = work.groups
            # The time of this attempt begins while the one before may still have the device.
            attempt = self.watch.begin(group, batches=2, beside=True)
            try:
                finish = self.overlapped.begin([request_of(rows[item]) for item in group])
                self._add_notes(rows, group)
            except BaseException:
                self.watch.end(attempt)
                raise
        except BaseException:
            self.watch.shutdown.end()
            raise

        def rest() -> pa.Table:
            try:
                try:
                    outcomes = finish(lambda: self.watch.denoised(attempt))
                finally:
                    self.watch.end(attempt)
                self._add(rows, outcomes)
            except BaseException:
                self.watch.shutdown.end()
                raise
            return self._ended(rows)

        return rest

    def _of_groups(self, rows: Rows, work: AttemptPlan) -> list[GenerationOutcome]:
        """Group by group, with nothing else on the device."""
        outcomes: list[GenerationOutcome] = []
        for group in work.groups:
            # The device is this group's alone, but the end of the batch before may not be recorded yet.
            with self.watch.attempt(group, beside=True):
                outcomes += self.generator.generate([request_of(rows[item]) for item in group])
        return outcomes

    def _ended(self, rows: Rows) -> pa.Table:
        assert self.overlapped is not None
        self.watch.shutdown.end()
        return self._table(rows, self.overlapped.take_note())

    def _sorted(self, batch: pa.Table) -> tuple[Rows, AttemptPlan]:
        """The batch's rows, and which of them to try; those that are quarantined have their error."""
        rows: Rows = {row["item_id"]: {**NO_PIXELS, **row} for row in batch.to_pylist()}
        sound = [item for item, row in rows.items() if row["code"] is None]
        work = self.watch.sort(sound, _subjects(rows, sound))
        for item, verdict in work.quarantined.items():
            row = rows[item]
            row["attempts"] += verdict.attempts - 1
            message = str(verdict.error(f"item {item[:12]} of subject '{row['subject_id']}'"))
            row.update(code=verdict.code, message=message)
        return rows, work

    def _add(self, rows: Rows, outcomes: list[GenerationOutcome]) -> None:
        self.telemetry.generated(outcomes)
        for outcome in outcomes:
            rows[outcome.item_id].update(self._columns(outcome))

    def _add_notes(self, rows: Rows, items: Sequence[str]) -> None:
        """In the thread that reads subjects."""
        for row in (rows[item] for item in items):
            # The encoder does not read what the cache holds already.
            row["segment_note"] = row["segment_note"] or self.references.segment_note(request_of(row))

    def _table(self, rows: Rows, note: str | None) -> pa.Table:
        next(iter(rows.values()))["note"] = note
        return pa.Table.from_pylist(list(rows.values()), schema=GENERATED)

    def _columns(self, outcome: GenerationOutcome) -> dict[str, Any]:
        if isinstance(outcome, Failed):
            return {"code": outcome.code, "message": outcome.message}
        quality = {"quality": asdict(outcome.quality) if outcome.quality else None}
        if isinstance(outcome, Blocked):
            return {"code": outcome.code, "message": outcome.message, "blocked": True, **quality}
        height, width, _ = outcome.rgb.shape
        return {
            "rgb": outcome.rgb.tobytes(),
            "height": height,
            "width": width,
            "seconds": outcome.seconds,
            "device": self.device,
            **quality,
        }


def _subjects(rows: Rows, items: Sequence[str]) -> list[str]:
    return [str(rows[item]["subject_id"]) for item in items]
