"""The generator worker: holds the model and turns batches of rows, of any mix of subjects, into pixels."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from dreamcache.records import Blocked, Failed
from workers.bootstrap import device_name, load_pipeline, load_references
from workers.context import JobContext, request_of
from workers.tables import DRAWN, NO_PIXELS
from workers.telemetry import Telemetry


class GenerateWorker:
    """Ray actor. Rows that carry an error pass through; the others get pixels or an error of their own."""

    def __init__(self, context: JobContext) -> None:
        from dreamcache.generate import Generator

        self.telemetry = Telemetry(context.output, "generator")
        pipe = load_pipeline(context)
        references = load_references(context, pipe)
        self.generator = Generator(pipe, context.generation, references.get, batch_size=context.batch_size)
        self.device = device_name(pipe)
        self.telemetry.warmed()

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.to_pylist()
        ready = [request_of(row) for row in rows if row["code"] is None]
        outcomes = {outcome.item_id: outcome for outcome in self.generator.generate(ready)}
        self.telemetry.drawn(outcomes.values())
        for row in rows:
            row.update(NO_PIXELS, **self._columns(outcomes.get(row["item_id"])))
        return pa.Table.from_pylist(rows, schema=DRAWN)

    def _columns(self, outcome: Any) -> dict[str, Any]:
        if outcome is None:
            return {}
        if isinstance(outcome, (Failed, Blocked)):
            return {"code": outcome.code, "message": outcome.message, "blocked": isinstance(outcome, Blocked)}
        height, width, _ = outcome.rgb.shape
        return {
            "rgb": outcome.rgb.tobytes(),
            "height": height,
            "width": width,
            "seconds": outcome.seconds,
            "device": self.device,
        }
