"""The Ray Data pipeline of one stage of a synthesis: parts in, their names out as they are committed.

    parts -> SynthesizeWorker (actors) -> names

Knows Ray; never imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pyarrow as pa

from dreamcache.core.config.job import WorkerSpec
from dreamcache.synthesis.make import StageContext
from dreamcache.synthesis.parts import StagePart
from jobs.running.ray_data import map_workers, values_of
from workers.synthesize import PARTS, SynthesizeWorker


def generate_parts(context: StageContext, pool: WorkerSpec, parts: Sequence[StagePart]) -> Iterator[str]:
    """Generates the parts on the cluster this process is in; yields each one's name when it is there.

    Raises DreamCacheError when the run as a whole cannot go on.
    """
    rows = [{"stage": part.stage, "name": part.name, "work": json.dumps(dict(part.work))} for part in parts]
    table = pa.Table.from_pylist(rows, schema=PARTS)
    dataset = map_workers(table, SynthesizeWorker, context, pool, batch_size=1)
    yield from values_of(dataset, "name", lost="a worker", remains="finished parts are kept")
