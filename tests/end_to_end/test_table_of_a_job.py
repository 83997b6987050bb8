"""One real job, killed in the middle and resumed: its rows are read at any time, and each export of it is opened by
the library that it is for, pixels compared."""

from __future__ import annotations

import csv
import io
import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

import jobs
from dreamcache.mini.catalog import write_sample_catalog
from tests.command import dreamcache, in_process, write_job
from tests.end_to_end.processes import RAY_AGENTS, running

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.turns(unit="module"),
    pytest.mark.timeout(900),
]

NUM_DONE = 8
STEPS = 40
PRICES = [10.5, 12]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A finished job. at_work, killed: its rows while the first run was at work, and after it was killed."""

    output: str
    at_work: pa.Table
    killed: pa.Table
    killed_command: str

    @property
    def done(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = jobs.outputs(self.output, status="done").to_pylist()
        return rows

    def pixels(self) -> dict[str, Pixels]:
        """Of every image, by item."""
        return {row["item_id"]: opened(Path(row["uri"]).read_bytes()) for row in self.done}


def opened(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def catalog(folder: Path) -> None:
    """Two products with typed columns, named as readers could misread them, and one whose photo is damaged."""
    write_sample_catalog(folder, 2)
    with (folder / "catalog.csv").open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row, price in zip(rows, PRICES, strict=True):
        row |= {
            "price": price,
            "sizes": ["S", "M"],
            "file_name": "test.png",
            "front_file_name": "a.png",
            "label": "x",
        }
    (folder / "images" / "bad.png").write_bytes(b"no picture")
    rows.append({"subject_id": "bad", "class_name": "mug", "image": "images/bad.png"})
    (folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("table")
    catalog(folder)
    output = folder / "output"
    file = write_job(
        folder,
        catalog="catalog.jsonl",
        output="output",
        cache="cache",
        prompts=["a {class_name} for {price}"],
        samples=4,
        model={"base": "mini"},
        workers={"batch_size": 1},
        generation={"num_inference_steps": STEPS},  # slow enough to be looked at while it is at work
    )
    with running("run", file, extra={}, log=folder / "log") as command:
        # The first part holds the items that cannot run.
        assert command.wait_until(lambda: len(list(output.glob("ledger/*.parquet"))) >= 3), (
            command.log.read_text()
        )
        at_work = jobs.outputs(str(output))
        assert command.end(signal.SIGKILL) == -signal.SIGKILL
        command.wait_alone(30, but=RAY_AGENTS)
    listed = in_process("outputs", str(output), "--status", "done", "--json")
    assert listed.returncode == 0, listed.stderr
    killed = jobs.outputs(str(output))
    ended = dreamcache("run", file, "--quiet")
    assert ended.returncode == 3, ended.stderr
    return Job(output=str(output), at_work=at_work, killed=killed, killed_command=listed.stdout)


def test_rows_of_a_job_at_work_and_of_a_killed_one(job: Job) -> None:
    for table in (job.at_work, job.killed):
        statuses = table["status"].to_pylist()
        assert 2 <= statuses.count("done") + statuses.count("failed") <= NUM_DONE + 4
        assert statuses.count("done") >= 1 and statuses.count("pending") >= 1
        assert table.schema.field("attr_price").type == pa.float64()
    assert len(json.loads(job.killed_command)) == job.killed["status"].to_pylist().count("done")
    final = jobs.outputs(job.output)
    assert final["item_id"].to_pylist() == job.killed["item_id"].to_pylist()
    assert (final["status"].to_pylist().count("done"), len(job.done)) == (NUM_DONE, NUM_DONE)
    assert final.schema.equals(job.killed.schema)


def test_live_rows_are_read_by_libraries(job: Job) -> None:
    pl, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    datasets = pytest.importorskip("datasets")
    killed = job.killed
    count = killed["status"].to_pylist().count("done")
    assert (killed.to_pandas()["status"] == "done").sum() == count
    assert pl.from_arrow(killed).filter(pl.col("status") == "done").height == count
    assert duckdb.sql("select count(*) from killed where status = 'done'").fetchall() == [(count,)]
    assert len(datasets.Dataset(killed).filter(lambda row: row["status"] == "done")) == count
    import ray

    ray.init(num_cpus=1, include_dashboard=False, ignore_reinit_error=True, logging_level="ERROR")
    try:
        assert ray.data.from_arrow(killed).filter(lambda row: row["status"] == "done").count() == count
    finally:
        ray.shutdown()


def test_settings_are_named(job: Job) -> None:
    settings = json.loads(Path(job.output, "settings.json").read_text())
    assert {row["settings_fingerprint"] for row in job.done} == set(settings)
    assert [entry["generation"]["num_inference_steps"] for entry in settings.values()] == [STEPS]
    assert all(row["gpu_seconds"] == 0.0 and row["seconds"] > 0 for row in job.done)


def export(job: Job, target: Path, *options: str) -> dict[str, Any]:
    done = in_process("export", job.output, str(target), *options, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    again = json.loads(in_process("export", job.output, str(target), *options, "--json").stdout)
    assert (result["written"], result["kept"], again["written"], again["kept"]) == (NUM_DONE, 0, 0, NUM_DONE)
    assert sum(result["skipped"].values()) == jobs.outputs(job.output).num_rows - NUM_DONE
    return result


def test_a_folder(job: Job, tmp_path: Path) -> None:
    export(job, tmp_path / "a", "--layout", "{subject_id}/{sample}.{ext}")
    wanted = job.pixels()
    for row in job.done:
        data = (tmp_path / "a" / row["subject_id"] / f"{row['sample']}.png").read_bytes()
        assert np.array_equal(opened(data), wanted[row["item_id"]])


def test_csv_in_pandas(job: Job, tmp_path: Path) -> None:
    import pandas as pd

    done = in_process("export", job.output, str(tmp_path / "list.csv"), "--to", "csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "list.csv", dtype={"seed_text": str})
    rows = jobs.outputs(job.output).to_pylist()
    assert table["item_id"].tolist() == [row["item_id"] for row in rows]
    assert table["attr_price"].dropna().tolist() == [row["attr_price"] for row in rows if row["attr_price"]]
    assert table["seed_text"].tolist() == [row["seed_text"] for row in rows]
    assert [json.loads(cell) for cell in table["attr_sizes"].dropna()] == [["S", "M"]] * NUM_DONE
    wanted = job.pixels()
    for row in table[table["status"] == "done"].to_dict("records"):
        assert np.array_equal(opened(Path(row["uri"]).read_bytes()), wanted[row["item_id"]])


@pytest.mark.parametrize("where", [[], ["--where", "sample=0"]], ids=["all", "two images"])
def test_hugging_face(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: list[str]) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    target = tmp_path / "hf"
    if where:
        assert in_process("export", job.output, str(target), "--to", "hf", *where).returncode == 0
    else:
        export(job, target, "--to", "hf")
    loaded = datasets.load_dataset(str(target), cache_dir=str(tmp_path / "cache"))["train"]
    wanted = job.pixels()
    assert len(loaded) == (2 if where else NUM_DONE)
    for row in loaded:
        assert np.array_equal(np.asarray(row["image"].convert("RGB")), wanted[row["item_id"]])
        assert row["reference"].endswith(".png")
        assert (row["attr_sizes"], row["label"], row["file_name_in_catalog"]) == (["S", "M"], "x", "test.png")
        assert row["front_file_name_in_catalog"] == "a.png"


def test_webdataset(job: Job, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    export(job, tmp_path / "wds", "--to", "webdataset")
    shards = sorted(str(path) for path in (tmp_path / "wds").glob("shard-*.tar"))
    wanted, by_item = job.pixels(), {row["item_id"]: row for row in job.done}
    samples = list(wds.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert len(samples) == NUM_DONE
    for sample in samples:
        row = by_item[sample["json"]["item_id"]]
        assert np.array_equal(sample["png"], wanted[row["item_id"]])
        assert (sample["txt"], sample["json"]["attr_price"]) == (row["prompt"], row["attr_price"])
