"""How planning, resuming and the manifest grow with the catalog: each size in a process of its own, no model.

    made-up catalog and ledger -> plan -> resume (ledger scan, join) -> compaction -> manifest; seconds and peak memory

The catalog has `ITEMS_PER_SUBJECT` items a subject, photos are a few small files read once a subject, and half
of the items are recorded: most in parts as compaction leaves them, the last ones in parts as workers write them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.compaction import compact
from dreamcache.storage.ledger import LEDGER_SCHEMA, Ledger
from jobs import own_packages
from jobs.output.folder import OutputFolder
from jobs.output.publish_manifest import publish_manifest
from jobs.planning.planner import Plan, plan
from jobs.reconcile.remaining import find_work

ITEMS_PER_SUBJECT = 10
PHOTOS = 100
RECORDS_PER_PART = 32_768
SMALL_PARTS = 256
RECORDS_PER_SMALL_PART = 8
STEPS = ("plan", "resume", "compact", "manifest")
BYTES_PER_KIB = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Seconds of each step; peak_bytes: the most memory the process has held (resident set)."""

    items: int
    seconds: Mapping[str, float]
    peak_bytes: int

    def microseconds_per_item(self, step: str) -> float:
        return self.seconds[step] / self.items * 1e6

    def as_dict(self) -> dict[str, Any]:
        spent = {step: round(self.microseconds_per_item(step), 3) for step in self.seconds}
        return {**asdict(self), "microseconds_per_item": spent}


def measure_sizes(sizes: list[int]) -> Iterator[Measured]:
    """Measures each size, a multiple of ITEMS_PER_SUBJECT, in a fresh Python process."""
    for items in sizes:
        command = own_packages.command_of("jobs.bench.scale", str(items))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DreamCacheError(f"bench scale of {items} items: {done.stderr.strip().splitlines()[-1]}")
        yield Measured(**json.loads(done.stdout))


def measure(items: int) -> Measured:
    """Measures one size in this process, in a temporary folder."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[step] = time.perf_counter() - started

    with tempfile.TemporaryDirectory(prefix="dreamcache-bench-") as place:
        spec = made_up_job(Path(place), items)
        with timed("plan"):
            made = plan(spec)
        ledger = Ledger(spec.output)
        record_half(made, ledger)
        with timed("resume"):
            work = find_work(made, ledger)
        if work.num_pending != items - items // 2:
            raise AssertionError(f"{work.num_pending} of {items} items are pending; half of them must be")
        with timed("compact"):
            compact(ledger)
        with timed("manifest"):
            publish_manifest(made, OutputFolder(spec.output), gallery=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_KIB
    return Measured(items=items, seconds=seconds, peak_bytes=peak)


def made_up_job(place: Path, items: int) -> JobSpec:
    """A catalog of many subjects, of which each tenth has prompts of its own, and some photos that they share."""
    (place / "photos").mkdir()
    for number in range(PHOTOS):
        (place / "photos" / f"{number}.png").write_bytes(f"photo {number}".encode() * 1000)
    with (place / "catalog.csv").open("w", encoding="utf-8") as file:
        file.write("subject_id,image,color,material\n")
        for number in range(items // ITEMS_PER_SUBJECT):
            file.write(f"SKU-{number:09d},photos/{number % PHOTOS}.png,color {number % 40},cotton\n")
    prompts = tuple(f"a {{color}} {{class_name}} in scene {n}" for n in range(ITEMS_PER_SUBJECT // 2))
    return JobSpec(
        name="bench",
        catalog=str(place / "catalog.csv"),
        output=str(place / "output"),
        prompts=prompts,
        samples=2,
    )


def record_half(made: Plan, ledger: Ledger) -> None:
    """Records every second item as done, in parts that are sorted by id as compaction leaves them."""
    small = min(SMALL_PARTS * RECORDS_PER_SMALL_PART, made.num_items // 4)
    left = pa.array([], pa.string())
    start = 0
    for table in made.files.tables(["item_id"]):
        chosen = np.arange(start % 2, table.num_rows, 2) if start % 2 else np.arange(1, table.num_rows, 2)
        start += table.num_rows
        left = pa.concat_arrays([left, table["item_id"].take(pa.array(chosen)).combine_chunks()])
        while len(left) >= RECORDS_PER_PART + small:
            _record(ledger, left.slice(0, RECORDS_PER_PART))
            left = left.slice(RECORDS_PER_PART)
    if len(left) > small:
        _record(ledger, left.slice(0, len(left) - small))
        left = left.slice(len(left) - small)
    for first in range(0, len(left), RECORDS_PER_SMALL_PART):
        _record(ledger, left.slice(first, RECORDS_PER_SMALL_PART))


def _record(ledger: Ledger, item_ids: pa.Array) -> None:
    number = len(item_ids)
    ids = item_ids.take(pa.compute.array_sort_indices(item_ids))
    fixed = {
        "status": "done",
        "attempts": 1,
        "width": 512,
        "height": 512,
        "num_bytes": 400_000,
        "seconds": 1.5,
    }
    columns = {name: pa.repeat(value, number) for name, value in {**fixed, "device": "cpu"}.items()}
    columns |= {"recorded_at": pa.repeat(datetime.now(UTC), number), "item_id": ids, "pixel_sha256": ids}
    columns["key"] = pa.compute.binary_join_element_wise(
        "images/", pa.compute.utf8_slice_codeunits(ids, 0, 2), "/", ids, ".png", ""
    )
    table = pa.table(
        [columns.get(f.name, pa.nulls(number)).cast(f.type) for f in LEDGER_SCHEMA], schema=LEDGER_SCHEMA
    )
    level = "" if number <= RECORDS_PER_SMALL_PART else "g2-"
    ledger.log.append(f"{level}{ids[0]}", table)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(int(sys.argv[1])))))
