"""The generator worker: holds the model and turns batches of rows, of any mix of subjects, into pixels.

Behind a quality gate it holds the encoders of the scores too, and draws again what is not good enough.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from dreamcache.core.records import Blocked, Failed
from workers.bootstrap import blank_subject, device_name, load_gate, load_pipeline, load_references
from workers.context import JobContext, request_of
from workers.guard import Watch
from workers.tables import DRAWN, NO_PIXELS
from workers.telemetry import Telemetry


class GenerateWorker:
    """Ray actor. Rows that carry an error pass through; the others get pixels or an error of their own."""

    def __init__(self, context: JobContext, watch: Watch) -> None:
        from dreamcache.inference.generate import Generator

        self.telemetry = Telemetry(context.output, "generator")
        self.watch = watch
        self.watch.join()
        pipe = load_pipeline(context)
        references = load_references(context, pipe)
        self.generator = Generator(pipe, context.generation, references.get, batch_size=context.batch_size)
        gate = load_gate(context, self.generator)
        self.draw, self.num_tries = (
            (gate.generate, gate.settings.tries) if gate else (self.generator.generate, 1)
        )
        self.device = device_name(pipe)
        self.generator.warm_up(blank_subject(pipe, context))
        self.telemetry.warmed()

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = {row["item_id"]: {**row, **NO_PIXELS} for row in batch.to_pylist()}
        with self.watch.farewell.batch():
            work = self.watch.sort([row["item_id"] for row in rows.values() if row["code"] is None])
            for item, verdict in work.condemned.items():
                row = rows[item]
                row["attempts"] += verdict.attempts - 1
                message = str(verdict.error(f"item {item[:12]} of subject '{row['subject_id']}'"))
                row.update(code=verdict.code, message=message)
            for group in work.groups:
                with self.watch.attempt(group, batches=self.num_tries):
                    outcomes = self.draw([request_of(rows[item]) for item in group])
                self.telemetry.generated(outcomes)
                for outcome in outcomes:
                    rows[outcome.item_id].update(self._columns(outcome))
        next(iter(rows.values()))["note"] = self.generator.take_note()
        return pa.Table.from_pylist(list(rows.values()), schema=DRAWN)

    def _columns(self, outcome: Any) -> dict[str, Any]:
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
