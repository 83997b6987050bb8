"""Metrics of the workers and the driver, for whoever scrapes Ray's own metrics endpoints.

Names and tags stand in METRICS; Ray exports each as `ray_<name>` on every node's metrics port, and its agent keeps the
sums. A call here is a few microseconds, and nothing at all outside Ray. Knows outcomes and clocks; decides nothing.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dreamcache.core.records import Done, Outcome
from dreamcache.storage import s3_client
from dreamcache.storage.store import S3_SCHEME

TO_TEN_MINUTES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0, 300.0, 600.0)
RETRIED = (409, 429, 500, 502, 503, 504)
"""Answers of a store after which a commit is tried again, beyond the client's own retries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """The definition of one metric for Ray; every one has the tags `job_name`, `output` and `worker` too."""

    kind: Literal["counter", "histogram", "gauge"]
    description: str
    tags: tuple[str, ...] = ()

    def exported(self, name: str) -> tuple[str, ...]:
        """The names under which Prometheus finds it."""
        name = f"ray_{name}"
        if self.kind == "counter":
            return (f"{name}_total",)
        return (f"{name}_bucket", f"{name}_sum", f"{name}_count") if self.kind == "histogram" else (name,)


METRICS: Mapping[str, Metric] = {
    "dreamcache_images": Metric(
        kind="counter", description="Terminal records written", tags=("status", "code")
    ),
    "dreamcache_image_bytes": Metric(kind="counter", description="Bytes of committed images"),
    "dreamcache_image_seconds": Metric(kind="histogram", description="An image's share of its batch's time"),
    "dreamcache_batch_seconds": Metric(kind="histogram", description="Generating one batch"),
    "dreamcache_encode_seconds": Metric(
        kind="histogram", description="Encoding one reference and storing its features"
    ),
    "dreamcache_cache_reads": Metric(
        kind="counter", description="References looked up in the feature cache", tags=("found",)
    ),
    "dreamcache_publish_seconds": Metric(
        kind="histogram", description="Committing one batch: images, then their records"
    ),
    "dreamcache_storage_retries": Metric(kind="counter", description="S3 requests sent again"),
    "dreamcache_oom_halvings": Metric(
        kind="counter", description="Batches halved because the device's memory ran out"
    ),
    "dreamcache_warm_up_seconds": Metric(
        kind="histogram", description="From a worker's start to its model being ready"
    ),
    "dreamcache_items_left": Metric(kind="gauge", description="Planned items without a terminal record"),
    "dreamcache_spent_hours": Metric(
        kind="gauge", description="What the job has cost over all its runs", tags=("unit",)
    ),
    "dreamcache_limit_hours": Metric(
        kind="gauge", description="What the job may cost, where it has such a limit", tags=("unit",)
    ),
}


class Telemetry:
    """One worker's, or the driver's, view of METRICS. Tag output: the job's output, which no two jobs share;
    job_name: its last part, for people."""

    def __init__(self, output: str, worker: str) -> None:
        self._started = time.perf_counter()
        output = output.rstrip("/")
        self._tags = {"job_name": output.rsplit("/", 1)[-1], "output": output, "worker": worker}
        self._waiting: Counter[str] = Counter()
        if output.startswith(S3_SCHEME) and _in_ray():
            self._watch_storage()

    def warmed(self) -> None:
        """The worker is ready for its first item."""
        self._record("dreamcache_warm_up_seconds", time.perf_counter() - self._started)

    def features(self, source: Literal["cache", "encoded"], seconds: float) -> None:
        """A reference's features were found in the cache, or had to be encoded."""
        self._record("dreamcache_cache_reads", 1, found="yes" if source == "cache" else "no")
        if source == "encoded":
            self._record("dreamcache_encode_seconds", seconds)

    def generated(self, outcomes: Iterable[Any]) -> None:
        """One batch's outcomes; those with `seconds` are images."""
        seconds = [outcome.seconds for outcome in outcomes if hasattr(outcome, "seconds")]
        for each in seconds:
            self._record("dreamcache_image_seconds", each)
        if seconds:
            self._record("dreamcache_batch_seconds", sum(seconds))

    def oom_halving(self) -> None:
        """A batch did not fit into the device's memory and is generated in halves."""
        self._record("dreamcache_oom_halvings", 1)

    def published(self, outcomes: Iterable[Outcome]) -> None:
        """One batch's terminal records are in the ledger; its publisher created this object when it began."""
        for outcome in outcomes:
            code = getattr(outcome, "code", None) or ""
            self._record("dreamcache_images", 1, status=outcome.status, code=code)
            if isinstance(outcome, Done):
                self._record("dreamcache_image_bytes", outcome.num_bytes)
        self._record("dreamcache_publish_seconds", time.perf_counter() - self._started)

    def unrunnable(self, codes: Iterable[str]) -> None:
        """Items that failed at planning, each by its code. The driver knows them before it has joined Ray, so they
        are counted with the next call of `remaining`."""
        self._waiting.update(codes)

    def remaining(self, items: int) -> None:
        """So many items have no terminal record yet; to be called again and again, as Ray forgets gauges."""
        self._record("dreamcache_items_left", items)
        if self._waiting and _in_ray():
            waiting, self._waiting = self._waiting, Counter()
            for code, count in waiting.items():
                self._record("dreamcache_images", count, status="failed", code=code)

    def costs(self, spent: Mapping[str, float], limits: Mapping[str, float | None]) -> None:
        """Hours by unit ("hours", "gpu_hours"), and how many there may be; None for no limit."""
        for unit, hours in spent.items():
            self._record("dreamcache_spent_hours", hours, unit=unit)
        for unit, limit in limits.items():
            if limit is not None:
                self._record("dreamcache_limit_hours", limit, unit=unit)

    def _watch_storage(self) -> None:
        events = s3_client.client().meta.events
        # An id of its own makes a second registration on the same client a no-op.
        events.register("after-call.s3", self._after_call, unique_id="dreamcache-telemetry")
        events.register("after-call-error.s3", self._after_error, unique_id="dreamcache-telemetry-error")

    def _after_call(self, http_response: Any, parsed: Mapping[str, Any], **_: Any) -> None:
        sent_again = int(parsed.get("ResponseMetadata", {}).get("RetryAttempts", 0))
        sent_again += http_response.status_code in RETRIED
        if sent_again:
            self._record("dreamcache_storage_retries", sent_again)

    def _after_error(self, **_: Any) -> None:
        self._record("dreamcache_storage_retries", 1)

    def _record(self, name: str, value: float, **tags: str) -> None:
        if not _in_ray():
            return
        metric = _metrics.get(name) or _create(name)
        tags.update(self._tags)
        match METRICS[name].kind:
            case "counter":
                if value > 0:
                    metric.inc(value, tags)
            case "histogram":
                metric.observe(value, tags)
            case "gauge":
                metric.set(value, tags)


_metrics: dict[str, Any] = {}


def _create(name: str) -> Any:
    from ray.util import metrics

    metric_type = METRICS[name]
    text, tags = metric_type.description, ("job_name", "output", "worker", *metric_type.tags)
    if metric_type.kind == "histogram":
        metric: Any = metrics.Histogram(name, text, boundaries=list(TO_TEN_MINUTES), tag_keys=tags)
    else:
        metric = (metrics.Counter if metric_type.kind == "counter" else metrics.Gauge)(
            name, text, tag_keys=tags
        )
    return _metrics.setdefault(name, metric)


def _in_ray() -> bool:
    """Whether this process is a Ray worker or driver; never imports Ray to find out."""
    # Another thread may be importing Ray at this moment: the module is there, its functions are not.
    is_initialized = getattr(sys.modules.get("ray"), "is_initialized", None)
    return is_initialized is not None and bool(is_initialized())
