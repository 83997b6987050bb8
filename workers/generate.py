"""The generator worker: holds the model and turns batches of rows, of any mix of subjects, into pixels.

Behind a quality gate it holds the encoders of the scores too, and generates again what is not good enough.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dreamcache.core.records import Blocked, Failed
from workers.batches import packed, unpacked
from workers.context import JobContext, request_of
from workers.guard import Watch
from workers.tables import GENERATED, NO_PIXELS
from workers.telemetry import Telemetry

if TYPE_CHECKING:
    from dreamcache.inference.outcome import GenerationOutcome


class GenerateWorker:
    """Ray actor. Rows that carry an error pass through; the others get pixels or an error of their own."""

    def __init__(self, context: JobContext, watch: Watch) -> None:
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
        session.warm_up(self.generator)
        self.telemetry.warmed()
        watch.ready()

    def __call__(self, block: pa.Table) -> pa.Table:
        """`generate` for Ray Data, see `workers.batches`."""
        return packed([self.generate(unpacked(block))])

    def generate(self, batch: pa.Table) -> pa.Table:
        """PLANNED or ENCODED in, GENERATED out."""
        rows = {row["item_id"]: {**NO_PIXELS, **row} for row in batch.to_pylist()}
        with self.watch.shutdown.batch():
            sound = [row for row in rows.values() if row["code"] is None]
            work = self.watch.sort(
                [row["item_id"] for row in sound], [str(row["subject_id"]) for row in sound]
            )
            for item, verdict in work.quarantined.items():
                row = rows[item]
                row["attempts"] += verdict.attempts - 1
                message = str(verdict.error(f"item {item[:12]} of subject '{row['subject_id']}'"))
                row.update(code=verdict.code, message=message)
            for group in work.groups:
                subjects = [str(rows[item]["subject_id"]) for item in group]
                with self.watch.attempt(group, batches=self.num_tries, subjects=subjects):
                    outcomes = self.gated.generate([request_of(rows[item]) for item in group])
                self.telemetry.generated(outcomes)
                for outcome in outcomes:
                    row = rows[outcome.item_id]
                    # The encoder does not read what the cache holds already.
                    row["segment_note"] = row.get("segment_note") or self.references.segment_note(
                        request_of(row)
                    )
                    row.update(self._columns(outcome))
        next(iter(rows.values()))["note"] = self.generator.take_note()
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
