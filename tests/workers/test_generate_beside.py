"""The generator worker with two batches in flight, without a cluster: rows, events and shutdown."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dreamcache.core.config.failures import FailurePolicy
from tests.end_to_end.photos import write_photos
from tests.workers.near_book import near_watch
from tests.workers.small_job import SmallJob, small_job
from workers.attempts import AttemptBook
from workers.batches import packed, unpacked
from workers.generate import GenerateWorker
from workers.guard import InFlight
from workers.tables import GENERATED, NO_PIXELS

pytestmark = [pytest.mark.slow, pytest.mark.turns(unit="module"), pytest.mark.timeout(600)]

WAIT_S = 120
BATCHES, BATCH = 3, 2


@pytest.fixture(autouse=True)
def handler_of_sigterm() -> Iterator[None]:
    """Is the tests' own again afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, tiny_model: dict[str, str]) -> dict[str, SmallJob]:
    """By whether decoding is overlapped."""
    folder = tmp_path_factory.mktemp("beside")
    jobs = {}
    for mode in ("off", "on"):
        (folder / mode).mkdir()
        workers = {"batch_size": BATCH, "overlap_decoding": mode}
        catalog = write_photos(folder / mode, BATCHES * BATCH)
        jobs[mode] = small_job(folder / mode, tiny_model, catalog, workers=workers)
    return jobs


def start(job: SmallJob) -> tuple[GenerateWorker, AttemptBook]:
    watch = near_watch(FailurePolicy())
    return GenerateWorker(job.context, watch), watch.book.book  # type: ignore[attr-defined]


def batches(job: SmallJob) -> list[pa.Table]:
    rows = [{**NO_PIXELS, **row} for row in job.rows.to_pylist()]
    return [pa.Table.from_pylist(rows[n : n + BATCH], schema=GENERATED) for n in range(0, len(rows), BATCH)]


def pixels(tables: list[pa.Table]) -> dict[str, tuple[Any, ...]]:
    names = ("rgb", "code", "message", "height", "width", "segment_note", "attempts")
    return {row["item_id"]: tuple(row[name] for name in names) for t in tables for row in t.to_pylist()}


def as_ray_data_runs_it(worker: GenerateWorker, tables: list[pa.Table]) -> list[pa.Table]:
    """Calls in one thread; what a call returns is run through in the thread of its block, two blocks at a time."""
    with ThreadPoolExecutor(1) as calls, ThreadPoolExecutor(2) as blocks:

        def block(table: pa.Table) -> pa.Table:
            result = calls.submit(worker, packed([table])).result(WAIT_S)
            return unpacked(result if isinstance(result, pa.Table) else next(iter(result)))

        return list(blocks.map(block, tables))


def test_rows_are_those_of_one_stage_after_the_other(
    jobs: dict[str, SmallJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    after, _ = start(jobs["off"])
    wanted = pixels(as_ray_data_runs_it(after, batches(jobs["off"])))
    assert all(row[0] is not None and row[1] is None for row in wanted.values())

    worker, book = start(jobs["on"])
    assert worker.overlapped is not None and worker.overlapped.is_on
    numbers: list[int] = []

    def decode(
        latents: Any, output_type: str = "pt", real: Callable[..., Any] = worker.generator.pipe.decode
    ) -> Any:  # type: ignore[attr-defined]
        numbers.append(len(numbers))
        if len(numbers) == 2:
            raise RuntimeError("a kernel that fails once")
        time.sleep(0.5)
        return real(latents, output_type)

    monkeypatch.setattr(worker.generator.pipe, "decode", decode)
    assert pixels(as_ray_data_runs_it(worker, batches(jobs["on"]))) == wanted
    assert len(numbers) == BATCHES, "what failed is generated again as a whole, by the pipeline itself"
    events = book.events(0)
    spans = {
        (event["event"], event["first"]): (event["at"] - event["seconds"], event["at"])
        for event in events
        if event["event"] in ("batch", "decoded")
    }
    assert len(spans) == 2 * BATCHES
    first, second = (table["item_id"][0].as_py() for table in batches(jobs["on"])[:2])
    assert spans["decoded", first][1] > spans["batch", second][0], (
        "the second batch waited for the first's pixels"
    )
    assert not any(event["event"] in ("retried", "worker_lost") for event in events)


def test_suspects_have_the_device_alone(jobs: dict[str, SmallJob]) -> None:
    worker, book = start(jobs["on"])
    first, second, _ = batches(jobs["on"])
    book.begin("near", tuple(second["item_id"].to_pylist()))
    book.join("near", kind="generator")  # it died with the second batch
    book.ready("near")
    finish = worker.begin(first)
    threading.Timer(0.5, lambda: results.append(finish())).start()
    results: list[pa.Table] = []
    rest = worker.begin(second)
    assert results, "the first batch was still being decoded"
    assert {row[1] for row in pixels([*results, rest()]).values()} == {None}
    sizes = [event["units"] for event in book.events(0) if event["event"] == "batch"]
    assert sizes == [2, 1, 1]


def test_a_living_neighbour_of_suspects_is_no_dead_one(
    jobs: dict[str, SmallJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pixels are there and its end is not recorded yet, when the suspects begin."""
    worker, book = start(jobs["on"])
    first, second, _ = batches(jobs["on"])
    book.begin("near", tuple(second["item_id"].to_pylist()))
    book.join("near", kind="generator")
    number, end, is_open = book.events(0)[-1]["number"], worker.watch.end, threading.Event()
    finish = worker.begin(first)

    def late(attempt: InFlight) -> None:
        if attempt.units == tuple(first["item_id"].to_pylist()):
            assert is_open.wait(WAIT_S)
        end(attempt)

    monkeypatch.setattr(worker.watch, "end", late)
    with ThreadPoolExecutor(1) as blocks:
        table = blocks.submit(finish)
        rest = worker.begin(second)
        is_open.set()
        tables = [table.result(WAIT_S), rest()]
    assert {row[1] for row in pixels(tables).values()} == {None}
    assert not any(event["event"] == "retried" for event in book.events(number))


def test_after_sigterm_both_batches_are_handed_over_and_none_begins(
    jobs: dict[str, SmallJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = start(jobs["on"])
    ended = threading.Event()
    monkeypatch.setattr("workers.guard.os._exit", lambda code: ended.set())
    monkeypatch.setattr("workers.guard.HANDOVER_S", 0.05)
    first, second, third = batches(jobs["on"])
    rests = [worker.begin(first), worker.begin(second)]
    signal.raise_signal(signal.SIGTERM)
    threading.Thread(target=worker.begin, args=[third], daemon=True).start()
    tables = [rests[0]()]
    assert not ended.wait(0.3), "the second batch is in flight"
    tables.append(rests[1]())
    assert ended.wait(WAIT_S)
    assert {row[1] for row in pixels(tables).values()} == {None}


def test_a_photo_that_cannot_be_read_costs_its_own_row(jobs: dict[str, SmallJob], tmp_path: Path) -> None:
    worker, book = start(jobs["on"])
    table = batches(jobs["on"])[0]
    rows = table.to_pylist()
    rows[0]["image"], rows[0]["cache_key"] = str(tmp_path / "none.png"), "0" * 64
    done = worker.begin(pa.Table.from_pylist(rows, schema=GENERATED))().to_pylist()
    assert done[0]["code"] is not None and done[1]["code"] is None
    assert not book.sort([row["item_id"] for row in rows]).suspects
