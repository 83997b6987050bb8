"""How much of a batch's time its device has nothing to do: python -m recipes.speed.idle [--steps 20] [--batch 8]

    one batch on `mini`, as a worker generates it --torch's profiler--> time in operators or kernels, against wall time

The profiler slows the host and not the device: the share is an upper bound. On a CPU the device is the same core; what
counts as idle there is Python between operators. Knows the session of a worker; starts no Ray.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from dreamcache.core.records import Request
from dreamcache.inference.generate import Generator
from dreamcache.inference.session import JobSession
from jobs.init_template import write_job_template
from jobs.planning.planner import plan
from jobs.spec import load_spec
from workers.context import request_of


def opened(folder: Path, batch: int, steps: int) -> tuple[Generator[Any], list[Request]]:
    """A worker's generator, warmed up, and the requests of one batch, whose features it holds."""
    job = write_job_template(folder, num_subjects=batch, name="idle")
    spec = load_spec(job, {"workers.batch_size": batch, "generation.num_inference_steps": steps})
    made = plan(spec)
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    session = JobSession(made.spec, made.facts, device=device)
    requests = [request_of(row) for row in made.table.slice(0, batch).to_pylist()]
    for request in requests:
        session.references.get(request)
    generator = session.generator()
    session.warm_up(generator)
    return generator, requests


def idle_share(generator: Generator[Any], requests: Sequence[Request]) -> float:
    """Of one batch."""
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        began = time.perf_counter()
        generator.generate(requests)
        wall = time.perf_counter() - began
    return 1 - busy_seconds(profiler.events(), on_gpu=on_gpu) / wall


def busy_seconds(events: Iterable[Any], *, on_gpu: bool) -> float:
    """In kernels on a GPU; in operators that no other operator has called on a CPU."""
    if on_gpu:
        return sum(float(event.self_device_time_total) for event in events) / 1e6
    return sum(float(event.cpu_time_total) for event in events if _is_outermost(event)) / 1e6


def _is_outermost(event: Any) -> bool:
    parent = event.cpu_parent
    return event.name.startswith("aten::") and not (parent and parent.name.startswith("aten::"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generator, requests = opened(Path(folder), options.batch, options.steps)
        shares = sorted(idle_share(generator, requests) for _ in range(options.rounds))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    result = {"device": device, "batch": options.batch, "steps": options.steps, "rounds": options.rounds}
    print(json.dumps({**result, "idle": [round(share, 3) for share in (statistics.median(shares), *shares)]}))


if __name__ == "__main__":
    main()
