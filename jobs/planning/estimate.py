"""What a job will take, before it is launched: passes and bytes by arithmetic, time by generating a few items here.

    plan rows -> Estimate (exact counts, bytes)      --calibrate K -> Calibration -> ETA range, GPU-hours

Knows plan tables and the job's workers; torch is imported only when something is measured. Writes nothing of the job.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError, ModelError, SpecError
from dreamcache.core.records import Blocked, Failed, Request
from dreamcache.inference.facts import PlanFacts, family_of_job
from dreamcache.inference.families import Family
from jobs.formatting import format_bytes, format_duration
from jobs.output.cost import money
from jobs.planning.batches import groups_of, num_photos
from jobs.planning.pixels import Pixels
from jobs.planning.plan_table import photo_keys
from jobs.planning.planner import Plan
from jobs.planning.run_time import Calibration, run_time, start_up
from workers.context import request_of

if TYPE_CHECKING:
    from dreamcache.inference.protocols import BatchGenerator

BYTES_PER_PIXEL = {"png": 1.6, "jpeg": 0.45, "webp": 0.25}
"""A guess for photographs at the default quality; --calibrate measures it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """items: of the plan that can run, and to_make of them have no image yet. Half evaluations are of all items; two
    halves are one evaluation of the U-Net. cache_bytes: of all references' features before compression, exact, None
    for a base model whose files do not state its sizes. output_bytes_by: "guess" or "measured". eta_seconds,
    gpu_hours, cpu_hours, cost: (low, high) of what is to be generated, by the declared workers, cost in `currency` at
    the job's price; cost_limit: what `limits.max_cost` allows over all runs; startup_seconds: the part of
    eta_seconds before the first batch. None where nothing was measured on such a device, and note says why.
    """

    items: int
    to_make: int
    references: int
    encoder_halves: int
    decoder_halves: int
    unet_evaluations: float
    cache_bytes: int | None
    output_bytes: int
    output_bytes_by: str
    calibration: Calibration | None = None
    eta_seconds: tuple[float, float] | None = None
    gpu_hours: tuple[float, float] | None = None
    cpu_hours: tuple[float, float] | None = None
    cost: tuple[float, float] | None = None
    currency: str | None = None
    cost_limit: float | None = None
    note: str = ""

    @property
    def startup_seconds(self) -> tuple[float, float] | None:
        return start_up(self.calibration) if self.calibration and self.eta_seconds else None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "startup_seconds": self.startup_seconds}

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"{self.items} items, {self.unet_evaluations:.0f} U-Net evaluations ({self.encoder_halves} encoder and "
            f"{self.decoder_halves} decoder halves, and one for each of {self.references} references)",
            f"features {format_bytes(self.cache_bytes)} before compression, "
            f"images about {format_bytes(self.output_bytes)} ({self.output_bytes_by})",
        ]
        measured = self.calibration
        if measured is not None:
            low, high = measured.image_seconds
            lines.append(
                f"measured in this process on {measured.device}, {measured.items} items in {measured.batches} batches: "
                f"{low:.2f}-{high:.2f} s an image, {measured.encode_seconds:.2f} s a reference; nothing was recorded"
            )
        if self.eta_seconds is not None and self.gpu_hours is not None and self.cpu_hours is not None:
            kind, hours = ("GPU", self.gpu_hours) if self.gpu_hours[1] else ("CPU", self.cpu_hours)
            lines.append(
                f"ETA {' to '.join(map(format_duration, self.eta_seconds))} for {self.to_make} items with the "
                f"declared workers, {hours[0]:.2f} to {hours[1]:.2f} {kind}-hours"
            )
            if self.startup_seconds is not None:
                lines.append(
                    f"of it {' to '.join(map(format_duration, self.startup_seconds))} for starting workers"
                )
        return [*lines, *self._cost_lines(), *([self.note] if self.note else [])]

    def _cost_lines(self) -> list[str]:
        if self.cost is None or self.currency is None:
            return [] if self.currency is None else ["cost not known: --calibrate measures it"]
        low, high = self.cost
        an_image = f", {money(high / self.to_make)} an image at most" if self.to_make else ""
        limit = "" if self.cost_limit is None else f"; limits.max_cost is {money(self.cost_limit)}"
        return [f"cost {money(low)} to {money(high)} {self.currency}{an_image}{limit}"]


def estimate(
    spec: JobSpec,
    tables: Iterable[pa.Table],
    *,
    facts: PlanFacts,
    calibrate: int = 0,
    pending: int | None = None,
) -> Estimate:
    """Estimates a plan. tables: of its rows, read once; calibrate: items to generate here; pending: those without a
    record, None for all, to which time and hours belong.

    Raises SpecError for a negative `calibrate`, or DreamCacheError when a sampled item cannot be generated at all.
    """
    if calibrate < 0:
        raise SpecError(f"--calibrate must be 0 or more items, got {calibrate}")
    pixels = Pixels(spec, facts.base.native_size)
    items, keys, sample = _count(pixels.counted(tables), calibrate)
    measured = _calibrate(spec, sample, facts) if sample else None
    family = family_of_job(spec)
    passes = family.passes_per_image(spec.generation)
    guess = BYTES_PER_PIXEL[spec.images.format] * pixels.total
    to_make = items if pending is None else min(items, pending)
    # Subjects are cached or not as a whole, so references remain in proportion.
    remaining = math.ceil(keys * to_make / items) if items else 0
    eta, gpu, cpu, note = run_time(spec, measured, to_make, remaining) if measured else (None, None, None, "")
    return Estimate(
        items=items,
        to_make=to_make,
        references=keys,
        encoder_halves=items * passes.encoder_halves,
        decoder_halves=items * passes.decoder_halves,
        unet_evaluations=items * passes.evaluations + keys,
        cache_bytes=_cache_bytes(family, keys, facts),
        output_bytes=int(items * measured.image_bytes if measured else guess),
        output_bytes_by="measured" if measured else "guess",
        calibration=measured,
        eta_seconds=eta,
        gpu_hours=gpu,
        cpu_hours=cpu,
        note="; ".join(text for text in (note, _gate_note(spec)) if text),
    )


def _money(spec: JobSpec, eta: tuple[float, float] | None) -> dict[str, Any]:
    """Of an Estimate: money of the declared workers, from their start to their end."""
    if spec.price is None:
        return {}
    known = {"currency": spec.price.currency, "cost_limit": spec.limits.max_cost}
    if eta is None:
        return known
    workers = spec.workers
    pools = (workers.encoders, workers.generators)
    per_hour = sum(pool.count * spec.price.per_hour(gpus=pool.gpus, cpus=pool.cpus) for pool in pools)
    return {**known, "cost": (eta[0] * per_hour / 3600, eta[1] * per_hour / 3600)}


def estimate_plan(planned: Plan, calibrate: int = 0, pending: int | None = None) -> Estimate:
    """`estimate` of a plan that this process has, with its money."""
    spec, tables = planned.spec, planned.files.tables()
    known = estimate(spec, tables, facts=planned.facts, calibrate=calibrate, pending=pending)
    return replace(known, **_money(spec, known.eta_seconds))


def _cache_bytes(family: Family, references: int, facts: PlanFacts) -> int | None:
    try:
        return references * family.feature_bytes(facts.base, facts.reference)
    except ModelError:
        return None


def _count(tables: Iterable[pa.Table], wanted: int) -> tuple[int, int, list[dict[str, Any]]]:
    """(items that can run, references of these, `wanted` rows spread over them). Holds eight bytes a reference."""
    items = following = 0
    stride = 1
    keys: set[int] = set()
    rows: list[dict[str, Any]] = []
    for table in tables:
        ready = table.filter(pc.is_null(table["code"]))
        keys.update(int(key[:16], 16) for key in photo_keys(ready))
        while wanted and following < items + ready.num_rows:
            rows += ready.slice(following - items, 1).to_pylist()
            if (
                len(rows) == 2 * wanted
            ):  # of a stream of unknown length: every second one stays, and steps double
                rows, stride = rows[::2], 2 * stride
                following = len(rows) * stride
            else:
                following += stride
        items += ready.num_rows
    number = min(wanted, len(rows))
    return items, len(keys), [rows[index * len(rows) // number] for index in range(number)]


def _calibrate(spec: JobSpec, rows: Sequence[dict[str, Any]], facts: PlanFacts) -> Calibration:
    """Generates the rows' images in this process as a worker would, in its batches; keeps nothing of them."""
    loading = time.perf_counter()
    from dreamcache.inference.session import local_session

    total_photos = sum(num_photos(row["photo_set"]) for row in rows)
    with local_session(spec, facts, capacity=total_photos) as session:
        load_seconds = time.perf_counter() - loading
        requests = [request_of(row) for row in rows]
        firsts = {request.cache_key: request for request in requests}.values()
        # A run encodes a product's photos one by one, and references are photos.
        encoded = [
            _seconds(partial(session.references.get, request)) / num_photos(request.photo_set)
            for request in firsts
        ]
        image_seconds, num_batches, sizes, failure = _generate(
            spec, session.generator(), requests, family_of_job(spec).per_image
        )
        is_gpu = session.device.type == "cuda"
        device = session.device_name.removeprefix("cuda: ") if is_gpu else "cpu"
    if not sizes and failure is not None:
        message = f"--calibrate: none of {len(rows)} items could be generated: {failure.message}"
        raise DreamCacheError(message, code=failure.code)
    return Calibration(
        device=device,
        items=len(rows),
        batches=num_batches,
        load_seconds=round(load_seconds, 3),
        encode_seconds=round(statistics.median(encoded[1:] or encoded), 4),
        image_seconds=image_seconds,
        image_bytes=statistics.fmean(sizes),
    )


def _generate(
    spec: JobSpec, generator: BatchGenerator, requests: Sequence[Request], per_image: frozenset[str]
) -> tuple[tuple[float, float], int, list[int], Blocked | Failed | None]:
    """(seconds an image by the fastest and the slowest batches, number of batches, bytes of each image's file, the last
    item without an image). Requests share batches as a run's do: images of one size and number of photos."""
    from dreamcache.inference.outcome import Generated
    from dreamcache.storage.image_store import encode_image

    low = high = 0.0
    num_batches = 0
    sizes: list[int] = []
    failure: Blocked | Failed | None = None
    columns = [one.overrides for one in requests], [one.photo_set for one in requests]
    for group in groups_of(*columns, per_image):
        seconds: list[float] = []
        for start in range(0, len(group), generator.batch_size):
            batch = [requests[row] for row in group[start : start + generator.batch_size]]
            started = time.perf_counter()
            outcomes = generator.generate(batch)
            # A batch that was filled up took the time of a full one.
            seconds.append((time.perf_counter() - started) / generator.batch_size)
            for outcome in outcomes:
                if isinstance(outcome, Generated):
                    sizes.append(len(encode_image(outcome.rgb, spec.images, {})))
                else:
                    failure = outcome
        # What a first batch and reference warm up is no part of a long run. Sampled rows are in proportion to the plan.
        warm, share = seconds[1:] or seconds, len(group) / len(requests)
        low, high = low + share * min(warm), high + share * max(warm)
        num_batches += len(seconds)
    return (round(low, 4), round(high, 4)), num_batches, sizes, failure


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _gate_note(spec: JobSpec) -> str:
    if spec.quality is None:
        return ""
    most = "each" if spec.quality.keep == "best" else "at most"
    return (
        f"one try of every item is counted; quality.tries is {spec.quality.tries} {most}, scoring not counted"
    )
