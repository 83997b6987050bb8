"""An item's image is its own: alone, among others, in any order, and from any number of workers.

Measured on CPU in float32, largest difference of a channel: 0 of 255 with one batch size, whatever the batch
holds, in one process or in a job; at most 1 of 255 between batch sizes, whose kernels sum in another order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

from dreamcache import DreamCachePipeline
from dreamcache.core.records import Request
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import Generated
from dreamcache.inference.references import ReferenceFeatures
from dreamcache.storage.feature_cache import FeatureCache
from dreamcache.storage.image_store import decode_image
from jobs import JobSpec, load_spec, plan
from tests.command import dreamcache, write_job
from tests.end_to_end.photos import write_catalog, write_photos
from workers.context import request_of

SUBJECTS = 8
SAME_BATCH_SIZE = 0
OTHER_BATCH_SIZE = 1

Images = dict[str, NDArray[np.uint8]]
Draw = Callable[..., Images]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As many as a worker of the job has: a kernel's last bits depend on how its work is cut up."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, tiny_model: dict[str, str]) -> str:
    folder = tmp_path_factory.mktemp("invariance")
    return write_job(
        folder,
        catalog=write_catalog(folder, write_photos(folder, SUBJECTS)),
        output="output",
        prompts=["a {class_name} on sand", "a {class_name} in snow"],
        model=tiny_model,
        generation={"num_inference_steps": 2, "text_scale": 3.0, "image_scale": 2.0},
    )


@pytest.fixture(scope="module")
def spec(job: str) -> JobSpec:
    return load_spec(job)


@pytest.fixture(scope="module")
def requests(spec: JobSpec) -> list[Request]:
    """Two of each subject; neighbours are of different subjects."""
    rows = sorted(plan(spec).table.to_pylist(), key=lambda row: row["prompt"])
    return [request_of(row) for row in rows]


@pytest.fixture(scope="module")
def draw(spec: JobSpec, tmp_path_factory: pytest.TempPathFactory) -> Draw:
    """draw(requests, batch_size) -> images by item, made in this process."""
    pipe = DreamCachePipeline.from_pretrained(spec.model.base, adapter=spec.model.adapter)
    cache = FeatureCache(str(tmp_path_factory.mktemp("cache")), pipe.info.fingerprint)
    references = ReferenceFeatures(pipe.encoder(spec.reference), cache, spec.limits)

    def made(requests: list[Request], batch_size: int = 8) -> Images:
        generator = Generator(pipe, spec.generation, references.get, batch_size=batch_size)
        outcomes = generator.generate(requests)
        assert all(isinstance(outcome, Generated) for outcome in outcomes), outcomes
        return {outcome.item_id: outcome.rgb for outcome in outcomes if isinstance(outcome, Generated)}

    return made


@pytest.fixture(scope="module")
def together(draw: Draw, requests: list[Request]) -> Images:
    """All of them, in batches of eight."""
    return draw(requests)


def largest_difference(ours: Images, theirs: Images) -> int:
    assert set(ours) == set(theirs)
    return max(int(np.abs(ours[item].astype(int) - theirs[item].astype(int)).max()) for item in ours)


def test_alone_or_in_a_batch_of_mixed_subjects(draw: Draw, requests: list[Request], together: Images) -> None:
    assert len({rgb.tobytes() for rgb in together.values()}) == len(requests)
    for request in requests[::5]:
        alone = draw([request])
        assert largest_difference(alone, {request.item_id: together[request.item_id]}) <= SAME_BATCH_SIZE


def test_in_any_order(draw: Draw, requests: list[Request], together: Images) -> None:
    shuffled = random.Random(1).sample(requests, len(requests))
    assert largest_difference(draw(shuffled), together) <= SAME_BATCH_SIZE


@pytest.mark.parametrize(
    "batch_size", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(16, marks=pytest.mark.slow)]
)
def test_in_batches_of_another_size(
    draw: Draw, requests: list[Request], together: Images, batch_size: int
) -> None:
    assert largest_difference(draw(requests, batch_size), together) <= OTHER_BATCH_SIZE


@pytest.mark.ray
@pytest.mark.slow
def test_from_a_job_with_other_numbers_of_workers(
    draw: Draw, requests: list[Request], together: Images, job: str, tmp_path: Path
) -> None:
    """Two encoders and two generators, and eight batches, so that each of them has work."""
    workers = "{batch_size: 2, encoders: {count: 2, cpus: 0.5}, generators: {count: 2, cpus: 0.5}}"
    done = dreamcache("run", job, "--set", f"output={tmp_path}/output", "--set", f"workers={workers}")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "output" / "manifest.parquet").to_pylist()
    made = {row["item_id"]: decode_image((tmp_path / "output" / row["key"]).read_bytes()) for row in rows}
    assert largest_difference(made, draw(requests, 2)) <= SAME_BATCH_SIZE
    assert largest_difference(made, together) <= OTHER_BATCH_SIZE
