"""The manifest joins plan and ledger; the output folder belongs to one job; failed.csv is safe to open."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import SpecError, StorageError
from dreamcache.core.records import Blocked, Done, Failed, Outcome, Quality
from dreamcache.storage.ledger import LEDGER_SCHEMA, Ledger, to_row
from dreamcache.storage.local import LocalStore
from dreamcache.storage.store import ObjectInfo
from jobs.output.attributes import column_names, of_plan
from jobs.output.folder import OutputFolder
from jobs.output.manifest import OURS, Counts, build_manifest, count
from jobs.output.publish_manifest import publish_manifest
from jobs.output.reader import first_outputs, outputs, scan_outputs
from jobs.planning.plan_files import PlanFiles
from jobs.planning.planner import Plan, plan
from jobs.reconcile.join import Join

MakeSpec = Callable[..., JobSpec]
RECORDED_AT = datetime(2026, 1, 1, tzinfo=UTC)
CATALOG = "subject_id,image,color,key\na,a.png,red,k1\nb,b.png,blue,k2\n"


def outcomes_of(ids: list[str]) -> list[Outcome]:
    done = Done(
        item_id=ids[0],
        key=f"images/{ids[0][:2]}/{ids[0]}.png",
        width=8,
        height=9,
        num_bytes=10,
        pixel_sha256="f",
    )
    return [
        done,
        Failed(item_id=ids[1], code="bad_image", message="broken", attempts=3),
        Blocked(item_id=ids[2], code="safety_checker", message="withheld"),
        Failed(item_id="gone", code="x", message="of an earlier plan"),
    ]


def manifest_of(made: Plan, outcomes: Iterable[Outcome], output: str) -> tuple[pa.Table, Counts]:
    records = pa.Table.from_pylist(
        [to_row(outcome, RECORDED_AT) for outcome in outcomes], schema=LEDGER_SCHEMA
    )
    kinds = of_plan(made.files.tables(), made.attributes)
    with Join(made.files, [records]) as join:
        windows = list(join.windows())
    return pa.concat_tables(build_manifest(w, kinds, output) for w in windows), count(windows)


def test_every_planned_item_has_one_row(make_spec: MakeSpec) -> None:
    made = plan(make_spec(CATALOG))
    ids = made.table["item_id"].to_pylist()
    manifest, counts = manifest_of(made, outcomes_of(ids), "s3://b/out/")
    rows = manifest.to_pylist()
    assert [row["item_id"] for row in rows] == ids
    assert [row["status"] for row in rows] == ["done", "failed", "blocked", "pending"]
    assert [row["attempts"] for row in rows] == [1, 3, 1, 0]
    assert rows[0]["uri"] == f"s3://b/out/images/{ids[0][:2]}/{ids[0]}.png"
    assert (rows[0]["width"], rows[0]["num_bytes"], rows[0]["code"]) == (8, 10, None)
    assert (rows[1]["uri"], rows[1]["code"], rows[1]["message"]) == (None, "bad_image", "broken")
    assert [row["recorded_at"] for row in rows] == [RECORDED_AT] * 3 + [None]
    assert (counts.done, counts.failed, counts.blocked, counts.pending) == (1, 1, 1, 1)
    assert (counts.total, counts.orphaned) == (4, 1)


def test_what_a_quality_gate_saw(make_spec: MakeSpec) -> None:
    made = plan(make_spec(CATALOG))
    kept, lost, third, _ = outcomes_of(ids_of(made))
    kept = replace(kept, quality=Quality(tries=2, seed=7, image_score=0.5, text_score=None))
    lost = Blocked(
        item_id=lost.item_id,
        code="low_quality",
        message="m",
        quality=Quality(tries=4, seed=8, image_score=0.1),
    )
    rows = manifest_of(made, [kept, lost, third], "out")[0].to_pylist()
    names = ("tries", "image_score", "text_score", "verdict")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (2, 0.5, None, "passed"),
        (4, 0.1, None, "rejected"),
        (None, None, None, None),
        (None, None, None, None),
    ]
    assert [row["seed"] for row in rows] == [7, 8, *made.table["seed"].to_pylist()[2:]]


def test_catalog_columns_follow_ours(make_spec: MakeSpec) -> None:
    manifest, _ = manifest_of(plan(make_spec(CATALOG)), [], "out")
    assert manifest["color"].to_pylist() == ["red", "red", "blue", "blue"]
    assert manifest["catalog_key"].to_pylist() == ["k1", "k1", "k2", "k2"]
    assert manifest["key"].null_count == 4
    assert column_names(["key", "catalog_key"], OURS) == {
        "key": "catalog_catalog_key",
        "catalog_key": "catalog_key",
    }


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
def test_failed_csv_holds_no_formula(make_spec: MakeSpec, cell: str) -> None:
    spec = make_spec()
    made = plan(spec)
    ids = made.table["item_id"].to_pylist()
    Ledger(spec.output).append([Failed(item_id=item, code="bad_prompt", message=cell) for item in ids])
    publish_manifest(made, OutputFolder(spec.output), gallery=False)
    with Path(spec.output, "failed.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["message"] for row in rows] == ["'" + cell] * 4
    assert [row["subject_id"] for row in rows] == ["a", "a", "b", "b"]


def small_parts(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Plans of several parts, so that what works window by window is seen to."""

    def files(schema: pa.Schema, **options: Any) -> PlanFiles:
        return PlanFiles(schema, **options, part_rows=rows)

    monkeypatch.setattr("jobs.planning.planner.PlanFiles", files)


def test_windows_of_a_plan_make_one_manifest(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, counts = manifest_of(made := plan(make_spec(CATALOG)), outcomes_of(ids := ids_of(made)), "out")
    small_parts(monkeypatch, 3)
    for spills in (200, 1):  # one file for each window, or one for all
        monkeypatch.setattr("jobs.reconcile.join.MAX_SPILLS", spills)
        parted = plan(make_spec(CATALOG))
        assert len(parted.files.paths) == 2
        assert parted.fingerprint == made.fingerprint
        assert manifest_of(parted, outcomes_of(ids), "out") == (whole, counts)


def ids_of(made: Plan) -> list[str]:
    ids: list[str] = made.table["item_id"].to_pylist()
    return ids


def test_a_manifest_is_read_in_parts(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch, 3)
    monkeypatch.setattr("jobs.output.publish_manifest.ITEM_LIMIT", 3)
    spec = make_spec(CATALOG)
    made, folder = plan(spec), OutputFolder(spec.output)
    Ledger(spec.output).append(outcomes_of(ids_of(made)))
    publish_manifest(made, folder, gallery=True)
    assert pq.ParquetFile(Path(spec.output, "manifest.parquet")).num_row_groups == 2
    assert outputs(spec.output)["item_id"].to_pylist() == ids_of(made)
    assert outputs(spec.output, status="done", columns=["subject_id"]).to_pylist() == [{"subject_id": "a"}]
    assert outputs(spec.output, subject="b")["status"].to_pylist() == ["blocked", "pending"]
    assert sum(batch.num_rows for batch in scan_outputs(spec.output, subject="b")) == 2
    table, num_matching = first_outputs(spec.output, 3)
    assert (table["item_id"].to_pylist(), num_matching) == (ids_of(made)[:3], 4)
    page = Path(spec.output, "gallery", "index.html").read_text()
    assert "the first 3 of 4 items" in page
    assert json.loads(Path(spec.output, "manifest.json").read_text())["subjects"] == 2


def test_a_folder_is_claimed_by_one_job(make_spec: MakeSpec) -> None:
    spec = make_spec()
    folder = OutputFolder(spec.output)
    folder.claim(spec)
    folder.claim(make_spec(seed=3))  # the same job, changed
    assert "seed: 3" in Path(spec.output, "job.yaml").read_text()
    with pytest.raises(SpecError, match="belongs to job 'job', this one is 'other'") as caught:
        folder.claim(make_spec(name="other"))
    assert caught.value.code == "other_job"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("notes.txt", "mine", "must be empty or this job's, but holds '.*notes.txt' and no job.yaml"),
        ("job.yaml", "name: job\n", "holds a job.yaml that no run wrote"),  # the user's own job file
        ("job.yaml", "{", "holds a job.yaml that no run wrote"),
    ],
)
def test_files_of_others_are_left_alone(make_spec: MakeSpec, name: str, text: str, message: str) -> None:
    spec = make_spec()
    Path(spec.output).mkdir()
    (Path(spec.output) / name).write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        OutputFolder(spec.output).claim(spec)
    assert caught.value.code == "other_job"
    assert (Path(spec.output) / name).read_text() == text
    assert [path.name for path in Path(spec.output).iterdir()] == [name]


def test_two_claim_at_once(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other run claims the folder, and writes into it, after this one has seen that it is nobody's."""
    spec = make_spec()
    late, early = OutputFolder(spec.output), OutputFolder(spec.output)
    look = LocalStore.stat

    def look_too_early(store: LocalStore, uri: str) -> ObjectInfo | None:
        found = look(store, uri)
        monkeypatch.setattr(LocalStore, "stat", look)
        early.claim(spec)
        early.write_file("status.json", b"{}")
        return found

    monkeypatch.setattr(LocalStore, "stat", look_too_early)
    late.claim(spec)
    assert early.read_json("status.json") == {}


def test_a_smaller_plan_leaves_no_old_parts(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch, 3)
    spec = make_spec()
    folder = OutputFolder(spec.output)
    folder.write_plan(plan(spec).files)
    assert len(list(Path(spec.output, "plan").iterdir())) == 2
    folder.write_plan(plan(make_spec(prompts=["x"])).files)
    assert [path.name for path in Path(spec.output, "plan").iterdir()] == ["part-00000.parquet"]


def test_a_manifest_never_knows_less_than_the_one_before(make_spec: MakeSpec) -> None:
    """Another run records the rest and publishes while this one, which looked earlier, is about to."""
    spec = make_spec(CATALOG)
    made = plan(spec)

    class Slow(OutputFolder):
        others = 1

        def write_failed(self, path: Path) -> None:
            super().write_failed(path)
            if self.others:
                self.others -= 1
                Ledger(spec.output).append(outcomes_of(ids_of(made)))
                publish_manifest(made, OutputFolder(spec.output), gallery=False)

    counts, _ = publish_manifest(made, Slow(spec.output), gallery=False)
    assert counts.pending == 1
    published = json.loads(Path(spec.output, "manifest.json").read_text())["counts"]
    assert published["pending"] == 1
    assert outputs(spec.output)["status"].to_pylist().count("pending") == 1

    class Contended(Slow):
        others = 1000

    with pytest.raises(StorageError, match="must keep still"):
        publish_manifest(made, Contended(spec.output), gallery=False)
