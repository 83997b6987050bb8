"""A small job made in this process, as its workers would make it: output folder, plan, images, manifest.json."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from dreamcache import DreamCachePipeline
from dreamcache.core.config.job import JobSpec
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import Generated
from dreamcache.inference.references import ReferenceFeatures
from dreamcache.storage.feature_cache import FeatureCache
from dreamcache.storage.image_store import ImageStore, encode_image
from dreamcache.storage.open_store import join, store_for
from jobs.output.folder import JOB_MARK
from jobs.planning.planner import plan
from jobs.spec import dump_spec
from workers.context import request_of


def make_job(spec: JobSpec) -> list[str]:
    """Item ids in the plan's order. Generators have one thread, as `workers.generators.cpus: 1` says."""
    made = plan(spec)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pipe = DreamCachePipeline.from_pretrained(spec.model.base, adapter=spec.model.adapter)
        cache = FeatureCache(spec.cache_uri, made.facts.base.fingerprint)
        references = ReferenceFeatures(pipe.encoder(made.facts.reference), cache, spec.limits)
        generator = Generator(pipe, spec.generation, references.get, batch_size=spec.workers.batch_size)
        outcomes = list(generator.generate([request_of(row) for row in made.table.to_pylist()]))
    finally:
        torch.set_num_threads(threads)
    images = ImageStore(spec.output, spec.images)
    for outcome in outcomes:
        assert isinstance(outcome, Generated), outcome
        images.commit(outcome.item_id, encode_image(outcome.rgb, spec.images, {"item_id": outcome.item_id}))
    sink = pa.BufferOutputStream()
    pq.write_table(made.table, sink)
    summary = {
        "job": spec.name,
        "counts": {"done": len(outcomes), "blocked": 0, "failed": 0, "pending": 0},
        "base": {"fingerprint": made.facts.base.fingerprint},
        "adapter": {"fingerprint": made.facts.adapter.fingerprint},
    }
    files = {
        "job.yaml": (JOB_MARK + dump_spec(spec)).encode(),
        "plan/part-00000.parquet": sink.getvalue().to_pybytes(),
        "manifest.json": json.dumps(summary).encode(),
    }
    for name, data in files.items():
        store_for(spec.output).write(join(spec.output, *name.split("/")), data)
    return [str(item) for item in made.table["item_id"].to_pylist()]


def edit_json(path: Path, key: str, name: str, value: str) -> None:
    """Sets one value of a JSON file."""
    values = json.loads(path.read_text())
    values[key][name] = value
    path.write_text(json.dumps(values))
