"""The manifest joins plan and ledger; the output folder belongs to one job; failed.csv is safe to open."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from dreamcache.errors import SpecError
from dreamcache.records import Blocked, Done, Failed, Outcome
from jobs.manifest import build_manifest, count
from jobs.output_folder import OutputFolder
from jobs.planner import plan
from jobs.spec import JobSpec

MakeSpec = Callable[..., JobSpec]
CATALOG = "subject_id,image,color,key\na,a.png,red,k1\nb,b.png,blue,k2\n"


def outcomes_of(ids: list[str]) -> dict[str, Outcome]:
    done = Done(item_id=ids[0], key=f"images/{ids[0]}.png", width=8, height=9, num_bytes=10, pixel_sha256="f")
    return {
        ids[0]: done,
        ids[1]: Failed(item_id=ids[1], code="bad_image", message="broken", attempts=3),
        ids[2]: Blocked(item_id=ids[2], code="safety_checker", message="withheld"),
        "gone": Failed(item_id="gone", code="x", message="of an earlier plan"),
    }


def test_every_planned_item_has_one_row(make_spec: MakeSpec) -> None:
    table = plan(make_spec(CATALOG)).table
    ids = table["item_id"].to_pylist()
    outcomes = outcomes_of(ids)
    rows = build_manifest(table, outcomes, "s3://b/out/").to_pylist()
    assert [row["item_id"] for row in rows] == ids
    assert [row["status"] for row in rows] == ["done", "failed", "blocked", "pending"]
    assert [row["attempts"] for row in rows] == [1, 3, 1, 0]
    assert rows[0]["uri"] == f"s3://b/out/images/{ids[0]}.png"
    assert (rows[0]["width"], rows[0]["num_bytes"], rows[0]["code"]) == (8, 10, None)
    assert (rows[1]["uri"], rows[1]["code"], rows[1]["message"]) == (None, "bad_image", "broken")
    counts = count(ids, outcomes)
    assert (counts.done, counts.failed, counts.blocked, counts.pending) == (1, 1, 1, 1)
    assert (counts.total, counts.orphaned) == (4, 1)


def test_catalog_columns_follow_ours(make_spec: MakeSpec) -> None:
    manifest = build_manifest(plan(make_spec(CATALOG)).table, {}, "out")
    assert manifest["color"].to_pylist() == ["red", "red", "blue", "blue"]
    assert manifest["catalog_key"].to_pylist() == ["k1", "k1", "k2", "k2"]
    assert manifest["key"].null_count == 4


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
def test_failed_csv_holds_no_formula(make_spec: MakeSpec, tmp_path: Path, cell: str) -> None:
    table = plan(make_spec()).table
    ids = table["item_id"].to_pylist()
    outcomes: dict[str, Outcome] = {
        item: Failed(item_id=item, code="bad_prompt", message=cell) for item in ids
    }
    OutputFolder(str(tmp_path / "out")).write_failed(build_manifest(table, outcomes, "out"))
    with (tmp_path / "out" / "failed.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["message"] for row in rows] == ["'" + cell] * 4
    assert [row["subject_id"] for row in rows] == ["a", "a", "b", "b"]


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


def test_a_smaller_plan_leaves_no_old_parts(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.output_folder.PLAN_ROWS_PER_PART", 3)
    spec = make_spec()
    folder = OutputFolder(spec.output)
    folder.write_plan(plan(spec).table)
    folder.write_plan(plan(make_spec(prompts=["x"])).table)
    assert [path.name for path in Path(spec.output, "plan").iterdir()] == ["part-00000.parquet"]
