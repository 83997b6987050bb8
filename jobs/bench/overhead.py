"""What a job costs beside the model: its images/s against a bare loop's over the same items, two workers' against one.

    arms: a bare loop in one process | a job of one worker | a job of two workers;  by turns, there and back

Every arm is a process of its own with one thread a worker, features in the cache, and is measured warm: from its
fourth committed batch to its last. A shared machine's speed changes by the minute, so only ratios within a round count.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dreamcache.errors import DreamCacheError
from jobs.planning.planner import plan
from jobs.spec import JobSpec, load_spec

PROMPTS = 6
WARM_UP_BATCHES = 4
BARE, ONE, TWO = "bare loop", "1 worker", "2 workers"
ARMS = {BARE: 0, ONE: 1, TWO: 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Overhead:
    """images_per_s: of every round, by arm. one_to_bare, two_to_one: medians of the rounds' ratios."""

    items: int
    steps: int
    images_per_s: dict[str, list[float]]
    one_to_bare: float
    two_to_one: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure_overhead(folder: Path, *, items: int, rounds: int, steps: int) -> Overhead:
    """Runs the three arms by turns on `mini` below `folder`. steps: of sampling; the fewer, the more the rest weighs.

    Raises DreamCacheError when an arm fails.
    """
    from jobs.starter import write_starter

    job = write_starter(folder, num_subjects=-(-items // PROMPTS), name="overhead")
    speeds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for number in range(rounds):
        for arm in list(ARMS)[:: 1 if number % 2 == 0 else -1]:  # so that a drift of the machine favours none
            speed = _images_per_s(job, folder / f"{arm.replace(' ', '-')}-{number}", arm, steps)
            print(f"round {number + 1}, {arm}: {speed:.3f} images/s", file=sys.stderr, flush=True)
            speeds[arm].append(speed)
    return Overhead(
        items=items,
        steps=steps,
        images_per_s=speeds,
        one_to_bare=_median_ratio(speeds[ONE], speeds[BARE]),
        two_to_one=_median_ratio(speeds[TWO], speeds[ONE]),
    )


def _median_ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _images_per_s(job: Path, output: Path, arm: str, steps: int) -> float:
    """One arm in a process of its own."""
    command = [sys.executable, "-m", "jobs.bench.overhead", str(job), str(output), arm, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        raise DreamCacheError(f"bench overhead: '{arm}' failed: {last}", code="bench_failed")
    return float(json.loads(done.stdout.splitlines()[-1]))


def run_arm(job: str, output: str, arm: str, steps: str) -> float:
    """images/s of one arm in this process."""
    workers = {"count": max(1, ARMS[arm]), "cpus": 1}
    changes = {
        "output": output,
        "cache": f"{Path(job).parent}/features",
        "workers.generators": workers,
        "generation.num_inference_steps": int(steps),
    }
    spec = load_spec(job, changes)
    if arm == BARE:
        return _bare(spec)
    from dreamcache.storage.ledger import Ledger
    from jobs.running.runner import run

    report = run(spec, gallery=False, quiet=True)
    if report.exit_code:
        raise DreamCacheError(f"{report.as_dict()}", code="bench_failed")
    # A batch's records share their time, also once compaction has joined its part with others.
    moments = {
        moment.timestamp() for part in Ledger(output).scan() for moment in part["recorded_at"].to_pylist()
    }
    return warm_rate(list(moments), report.counts.total)


def warm_rate(moments: list[float], items: int) -> float:
    """images/s once all workers draw; moments: when each batch, of nearly equal size, was committed."""
    moments = sorted(moments)[WARM_UP_BATCHES - 1 :]
    return items * (len(moments) - 1) / (len(moments) - 1 + WARM_UP_BATCHES) / (moments[-1] - moments[0])


def _bare(spec: JobSpec) -> float:
    """What anyone would write without Ray: draw a batch, save its images, next batch."""
    import torch

    from dreamcache.generate import Drawn, Generator
    from dreamcache.pipeline import DreamCachePipeline
    from dreamcache.references import ReferenceFeatures
    from dreamcache.storage.feature_cache import FeatureCache
    from dreamcache.storage.image_store import encode_image

    made = plan(spec)
    torch.set_num_threads(1)
    pipe = DreamCachePipeline.from_pretrained(spec.model.base)
    cache = FeatureCache(spec.cache_uri, made.base.fingerprint)
    references = ReferenceFeatures(pipe.encoder(made.reference), cache, spec.limits)
    size = spec.workers.batch_size
    generator = Generator(pipe, spec.generation, references.get, batch_size=size)
    folder = Path(spec.output)
    folder.mkdir(parents=True)
    batches = list(_batches(made.table, size))
    for request in (request for batch in batches for request in batch):
        references.get(request)  # the jobs find them in the cache
    moments = []
    for batch in batches:
        for drawn in generator.generate(batch):
            if not isinstance(drawn, Drawn):
                raise DreamCacheError(f"{drawn}", code="bench_failed")
            (folder / f"{drawn.item_id}.png").write_bytes(encode_image(drawn.rgb, spec.images, {}))
        moments.append(time.time())
    return warm_rate(moments, made.num_items)


def _batches(table: Any, size: int) -> Iterator[list[Any]]:
    from workers.context import request_of

    for start in range(0, table.num_rows, size):
        yield [request_of(row) for row in table.slice(start, size).to_pylist()]


if __name__ == "__main__":
    print(json.dumps(run_arm(*sys.argv[1:5])))
