"""The Ray Data pipeline over rows of the plan. Decides nothing about failures.

    rows -> EncodeWorker (actors) -> GenerateWorker (actors) -> publish (tasks) -> outcomes

Knows Ray; never imports torch.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Generator
from typing import Any

import pyarrow as pa

from dreamcache.core.config.job import WorkerSpec
from dreamcache.core.config.scenes import overrides_of
from dreamcache.inference.facts import family_of_job
from jobs.running.ray_data import actor_options, set_up_ray_data
from workers.context import JobContext
from workers.guard import Watch

PUBLISH_RETRIES = 5


def run_pipeline(context: JobContext, rows: pa.Table, book: Any) -> Generator[pa.Table]:
    """Generates the images of rows (PLANNED) once; yields a table of OUTCOMES as each batch is committed.

    Raises ray.exceptions.RayError when the pipeline as a whole is lost. Closing the iterator stops the workers.
    """
    import ray.data

    from workers.encode import EncodeWorker
    from workers.generate import GenerateWorker
    from workers.publish import publish

    set_up_ray_data()
    spec = context.spec
    workers, size = spec.workers, spec.workers.batch_size
    # One block a batch: an image is committed as soon as its batch is generated, and a lost worker loses one batch.
    blocks = batches_of(rows, size, family_of_job(spec).per_image)

    def actors(pool: WorkerSpec) -> dict[str, Any]:
        return {
            **actor_options(pool, len(blocks)),
            **_worker(pool, context, book),
            "batch_size": size,
        }

    with warnings.catch_warnings():
        # Ray 2.64 will name the retry options; until then they go through **ray_remote_args.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        dataset: ray.data.Dataset = ray.data.from_arrow(blocks)
        if family_of_job(spec).caches_features:
            dataset = dataset.map_batches(EncodeWorker, **actors(workers.encoders))
        dataset = dataset.map_batches(GenerateWorker, **actors(workers.generators)).map_batches(
            publish,  # type: ignore[arg-type]  # Ray names no Arrow tables among the types of a batch
            fn_kwargs={"context": context},
            batch_size=size,
            batch_format="pyarrow",
            num_cpus=workers.publishers.cpus,
            max_retries=PUBLISH_RETRIES,
            compute=ray.data.TaskPoolStrategy(size=min(workers.publishers.count, len(blocks))),
        )
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def batches_of(rows: pa.Table, size: int, per_image: frozenset[str]) -> list[pa.Table]:
    """Rows that may share a batch, at most `size` in each, as near to the plan's order as that allows.

    A generator fills a smaller batch up, so that one of mixed image sizes or numbers of photos would be generated
    several times.
    """
    texts, sets = rows["overrides"].to_pylist(), rows["photo_set"].to_pylist()
    if not any(texts) and not any(sets):
        return [rows.slice(start, size) for start in range(0, rows.num_rows, size)]
    keys = {text: overrides_of(text).batch_key(per_image) for text in set(texts)}
    groups: dict[object, list[int]] = {}
    for row, (text, photos) in enumerate(zip(texts, sets, strict=True)):
        num_photos = len(json.loads(photos)) if photos else 1
        groups.setdefault((keys[text], num_photos), []).append(row)
    batches = [
        group[start : start + size] for group in groups.values() for start in range(0, len(group), size)
    ]
    # The last row of each decides, as if batches were sent off when they are full.
    return [rows.take(pa.array(batch)) for batch in sorted(batches, key=lambda batch: batch[-1])]


def _worker(pool: WorkerSpec, context: JobContext, book: Any) -> dict[str, Any]:
    spec = context.spec
    watch = Watch(
        book,
        spec.failures,
        gpus=pool.gpus,
        memory_bytes=pool.memory_bytes,
        per_hour=spec.price.per_hour(gpus=pool.gpus, cpus=pool.cpus) if spec.price else 0.0,
        is_priced=spec.limits.has_money,
    )
    # Ray restarts a lost worker without limit, and its batch with it; AttemptBook sets the limit.
    return {"fn_constructor_args": (context, watch), "max_restarts": -1, "max_task_retries": -1}
