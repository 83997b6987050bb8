"""What a job costs beside the model: its images/s against a bare loop's over the same items, two workers' against one.

    arms: a bare loop in one process | two of them at once | a job of one worker | of two workers;  by turns

Two bare loops, each over half of the items, show what the machine gives to two processes: memory, caches, and clock
are shared, so it is less than twice one's.

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

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from jobs import own_packages
from jobs.planning.planner import plan
from jobs.spec import load_spec

PROMPTS = 6
WARM_UP_BATCHES = 4
BARE, BARE_TWO, ONE, TWO = "bare loop", "2 bare loops", "1 worker", "2 workers"
ARMS = {BARE: 1, BARE_TWO: 2, ONE: 1, TWO: 2}
"""How many processes generate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overhead:
    """images_per_s: of every round, by arm. The others: medians of the rounds' ratios.

    two_to_one: of workers. two_bare_to_bare: of bare loops, the most that two_to_one can be on this machine.
    """

    items: int
    steps: int
    images_per_s: dict[str, list[float]]
    one_to_bare: float
    two_to_one: float
    two_bare_to_bare: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure_overhead(folder: Path, *, items: int, rounds: int, steps: int) -> Overhead:
    """Runs the arms by turns on `mini` below `folder`. steps: of sampling; the fewer, the more the rest weighs.

    Raises DreamCacheError when an arm fails.
    """
    from jobs.init_template import write_job_template

    job = write_job_template(folder, num_subjects=-(-items // PROMPTS), name="overhead")
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
        two_bare_to_bare=_median_ratio(speeds[BARE_TWO], speeds[BARE]),
    )


def _median_ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _images_per_s(job: Path, output: Path, arm: str, steps: int) -> float:
    """One arm, in processes of its own; bare loops run beside each other."""
    command = own_packages.command_of("jobs.bench.overhead", str(job), str(output), arm, str(steps))
    parts = range(ARMS[arm] if arm == BARE_TWO else 1)
    running = [
        subprocess.Popen([*command, str(part)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for part in parts
    ]
    speed = 0.0
    for process in running:
        out, errors = process.communicate()
        if process.returncode:
            last = (errors.strip().splitlines() or ["no message"])[-1]
            raise DreamCacheError(f"bench overhead: '{arm}' failed: {last}", code="bench_failed")
        speed += float(json.loads(out.splitlines()[-1]))
    return speed


def run_arm(job: str, output: str, arm: str, steps: str, part: str) -> float:
    """images/s of one arm in this process; part: of the bare loops, which one this is."""
    is_bare = arm in (BARE, BARE_TWO)
    workers = {"count": ARMS[arm], "cpus": 1}
    changes = {
        "output": f"{output}-{part}" if is_bare else output,
        "cache": f"{Path(job).parent}/features",
        "workers.generators": workers,
        "generation.num_inference_steps": int(steps),
    }
    spec = load_spec(job, changes)
    if is_bare:
        return _bare(spec, int(part), ARMS[arm])
    from dreamcache.storage.ledger import Ledger
    from jobs.running.runner import run

    report = run(spec, gallery=False, quiet=True)
    if report.exit_code:
        raise DreamCacheError(f"{report.as_dict()}", code="bench_failed")
    # A batch's records share their time, also once compaction has joined its part with others.
    moments = {
        moment.timestamp()
        for records in Ledger(output).scan()
        for moment in records["recorded_at"].to_pylist()
    }
    return warm_rate(list(moments), report.counts.total)


def warm_rate(moments: list[float], items: int) -> float:
    """images/s once all workers generate; moments: when each batch, of nearly equal size, was committed."""
    moments = sorted(moments)[WARM_UP_BATCHES - 1 :]
    return items * (len(moments) - 1) / (len(moments) - 1 + WARM_UP_BATCHES) / (moments[-1] - moments[0])


def _bare(spec: JobSpec, part: int, parts: int) -> float:
    """What anyone would write without Ray: draw a batch, save its images, next batch; of every parts-th batch."""
    import torch

    from dreamcache.inference.outcome import Generated
    from dreamcache.inference.session import JobSession
    from dreamcache.storage.image_store import encode_image

    made = plan(spec)
    torch.set_num_threads(1)
    session = JobSession(spec, made.facts, device="cpu")
    size = spec.workers.batch_size
    generator = session.generator()
    folder = Path(spec.output)
    folder.mkdir(parents=True)
    batches = list(_batches(made.table, size))[part::parts]
    for request in (request for batch in batches for request in batch):
        session.references.get(request)  # the jobs find them in the cache
    moments = []
    for batch in batches:
        for outcome in generator.generate(batch):
            if not isinstance(outcome, Generated):
                raise DreamCacheError(f"{outcome}", code="bench_failed")
            (folder / f"{outcome.item_id}.png").write_bytes(encode_image(outcome.rgb, spec.images, {}))
        moments.append(time.time())
    return warm_rate(moments, sum(len(batch) for batch in batches))


def _batches(table: Any, size: int) -> Iterator[list[Any]]:
    from workers.context import request_of

    for start in range(0, table.num_rows, size):
        yield [request_of(row) for row in table.slice(start, size).to_pylist()]


if __name__ == "__main__":
    print(json.dumps(run_arm(*sys.argv[1:6])))
