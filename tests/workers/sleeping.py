"""Generators that sleep instead of generating: a Ray worker's setup hook, as `tests/chaos/poison.py` has one.

Everything around them is the product's: source, batches, attempts, publishers, ledger.
"""

from __future__ import annotations

import os
import time
from random import Random

import pyarrow as pa

from workers.context import JobContext
from workers.guard import Watch
from workers.tables import GENERATED, NO_PIXELS

SECONDS = "SLEEPING_SECONDS"
SIDE = 16


def set_up() -> None:
    """In a worker process that has just started."""
    from workers.generate import GenerateWorker

    seconds = float(os.environ[SECONDS])

    def init(self: GenerateWorker, context: JobContext, watch: Watch) -> None:
        self.watch = watch
        watch.join("generator")
        watch.ready()

    def generate(self: GenerateWorker, batch: pa.Table) -> pa.Table:
        rows = batch.to_pylist()
        items = [row["item_id"] for row in rows]
        with self.watch.attempt(items):
            time.sleep(seconds * Random(items[0]).uniform(0.7, 1.3))
        pixels = {"rgb": bytes(SIDE * SIDE * 3), "height": SIDE, "width": SIDE, "device": "none"}
        return pa.Table.from_pylist([{**NO_PIXELS, **row, **pixels} for row in rows], schema=GENERATED)

    GenerateWorker.__init__ = init  # type: ignore[method-assign]
    GenerateWorker.generate = generate  # type: ignore[method-assign]
