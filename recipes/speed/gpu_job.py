"""The job section of `recipes.speed.gpu`: 200 images on `mini` through Ray, and how long the device had nothing to do.

    dreamcache run --events--> images/s from the command and between batches, generators' share of time without a batch
    nvidia-smi, while batches are generated --> share of time in which no kernel ran

The job has a limit of time, so that a slow machine reports what it did. Knows the command line and the record of
events; knows nothing of the other sections.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dreamcache.mini.catalog import write_sample_catalog
from dreamcache.storage.events import Event, read_events
from recipes.speed.gpu_bench import Bench, Row
from recipes.speed.idle import idle_share, opened

LIMIT_REACHED = 4
"""Exit code of a run that a limit has stopped."""
END_S = 30.0
"""For the start and the end of the run, besides its limit."""
LEAST_S = 20.0
SAMPLE_MS = 250


@dataclass(kw_only=True, slots=True)
class DeviceUse:
    """Samples of a GPU: (seconds since 1970, percent of the time before it in which a kernel ran)."""

    samples: list[tuple[float, float]] = field(default_factory=list)

    def idle(self, begin: float, end: float) -> float | None:
        """The share of time without a kernel between two moments; None without samples there."""
        used = [percent for at, percent in self.samples if begin <= at <= end]
        return 1 - statistics.fmean(used) / 100 if used else None


def job(bench: Bench) -> None:
    """A job on the embedded model, through the command line: what remains when the model is small."""
    images = 4 if bench.tiny else 200
    seconds = max(LEAST_S, bench.ends_at - time.monotonic() - END_S)
    bench.measure("job", lambda: [_of_job(bench, images, seconds)])
    bench.measure("a batch", lambda: [_of_batch(bench)])


def _of_job(bench: Bench, images: int, limit: float) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        write_sample_catalog(folder, images // 2)
        file = Path(folder) / "job.yaml"
        file.write_text(json.dumps(_spec(bench, limit)), "utf-8")
        program = str(Path(sys.executable).with_name("dreamcache"))
        command = [program, "run", str(file), "--json", "--quiet", "--no-gallery"]
        with _device_use() as use:
            began = time.perf_counter()
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - began
        if done.returncode not in (0, LIMIT_REACHED):
            raise RuntimeError(done.stderr[-300:])
        events = [event for _, event in read_events(f"{folder}/output")]
    report = json.loads(done.stdout[done.stdout.index("{\n") :])
    name = "job on mini" if report["stopped"] is None else f"job on mini, stopped after {limit:.0f} s"
    return {"arm": name, "images": report["done"], "command, s": round(seconds, 1), **rates(events, use)}


def _spec(bench: Bench, limit: float) -> dict[str, Any]:
    gpus = {} if bench.tiny else {"gpus": 0.5}
    return {
        "name": "trial",
        "catalog": "catalog.csv",
        "output": "output",
        "prompts": ["a photo of a {class_name}", "a photo of a {class_name} on the beach"],
        "generation": {"num_inference_steps": 2 if bench.tiny else 20},
        "limits": {"max_hours": limit / 3600},
        "workers": {
            "encoders": {"count": 1, "cpus": 0.5, **gpus},
            "generators": {"count": 1, "cpus": 1, **gpus},
            "batch_size": 2 if bench.tiny else 16,
        },
    }


def rates(events: Sequence[Event], use: DeviceUse) -> Row:
    """Of a run with one generator, from the end of its first batch to the end of its last; "" where unknown."""
    batches = [event for event in events if event["event"] == "batch" and event.get("kind") == "generator"]
    ends = [datetime.fromisoformat(event["at"]).timestamp() for event in batches]
    times = [event for event in events if event["event"] == "times" and event.get("kind") == "generator"]
    row: Row = {"images/s between batches": "", "generator without a batch": "", "device idle": ""}
    if len(ends) > 1 and ends[-1] > ends[0]:
        count = sum(event["units"] for event in batches[1:])
        row["images/s between batches"] = round(count / (ends[-1] - ends[0]), 2)
        idle = use.idle(ends[0], ends[-1])
        row["device idle"] = "" if idle is None else round(idle, 3)
    if times and times[-1]["ready_s"] > 0:
        row["generator without a batch"] = round(1 - times[-1]["busy_s"] / times[-1]["ready_s"], 3)
    return row


def _of_batch(bench: Bench) -> Row:
    """Eight images in this process, without Ray: the share that its own host leaves the device idle."""
    count, steps = (2, 2) if bench.tiny else (8, 20)
    with tempfile.TemporaryDirectory() as folder:
        generator, requests = opened(Path(folder), count, steps)
        share = statistics.median(idle_share(generator, requests) for _ in range(bench.rounds))
    row: Row = {"arm": f"one batch of {count}, profiled", "images": count, "command, s": ""}
    return {**row, **rates([], DeviceUse()), "device idle": round(share, 3)}


@contextmanager
def _device_use() -> Iterator[DeviceUse]:
    """Samples while the block runs; none where there is no nvidia-smi."""
    use = DeviceUse()
    query = ["nvidia-smi", "--query-gpu=timestamp,utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        sampler = subprocess.Popen([*query, f"--loop-ms={SAMPLE_MS}"], stdout=subprocess.PIPE, text=True)
    except OSError:
        yield use
        return
    try:
        yield use
    finally:
        sampler.terminate()
        text, _ = sampler.communicate()
        use.samples += samples_of(text)


def samples_of(text: str) -> list[tuple[float, float]]:
    """nvidia-smi's lines "2026/11/27 15:04:05.123, 87"; of several GPUs all count alike. Other lines are left out."""
    samples = []
    for line in text.splitlines():
        moment, _, percent = line.partition(",")
        try:
            at = datetime.strptime(moment.strip(), "%Y/%m/%d %H:%M:%S.%f").astimezone()
            samples.append((at.timestamp(), float(percent)))
        except ValueError:
            continue
    return samples
