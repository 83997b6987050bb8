"""The page's job of scenes, matrix and row settings: its plan, and its manifest after a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import jobs
from jobs.output.attributes import of_plan
from jobs.output.manifest import build_manifest
from jobs.planning.planner import Plan, plan
from jobs.reconcile.join import Join
from jobs.spec import load_spec
from tests.docs.pages import page

CATALOG = (
    "subject_id,class_name,image,color,shoot,likeness,avoid\n"
    "{first},mug,images/{first}.png,red,7.0,0.8,text\n"
    "{second},bottle,images/{second}.png,blue,,,\n"
)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The job file of docs/jobs.md beside a catalog of two products."""
    from dreamcache.mini.catalog import write_sample_catalog

    write_sample_catalog(tmp_path, 2, first_seed=1_000_008)
    first, second = (path.stem for path in sorted((tmp_path / "images").iterdir(), reverse=True))
    (tmp_path / "catalog.csv").write_text(CATALOG.format(first=first, second=second))
    [block] = [one for one in page("docs/jobs.md").blocks if "scenes:" in one.text]
    (tmp_path / "job.yaml").write_text(block.text)
    return tmp_path / "job.yaml"


def expected(rows: list[dict[str, Any]]) -> None:
    """Of both products: one table, two banners x two lights, one close-up."""
    assert [row["scene"] for row in rows] == ["0", *["banner"] * 4, "close-up"] * 2
    lights = [None, "morning light", "morning light", "candle light", "candle light", None]
    assert [row["light"] for row in rows] == lights * 2
    banner = {"height": 64, "width": 96, "negative_prompt": "people"}
    close_up = {"text_scale": 2.5, "image_scale": 4.0, "strength": 0.9, "seed": 11}
    own = {"seed": 7, "strength": 0.8, "negative_prompt": "text"}
    settings = [json.loads(row["overrides"] or "{}") for row in rows]
    assert settings[:6] == [own, *[{**banner, **own}] * 4, {**close_up, **own}]
    assert settings[6:] == [{}, *[banner] * 4, close_up]
    assert len({row["item_id"] for row in rows}) == 12


def manifest_rows(planned: Plan) -> list[dict[str, Any]]:
    attributes = of_plan(planned.files.tables())
    with Join(planned.files, []) as join:
        tables = [build_manifest(window, attributes, "out") for window in join.windows()]
    return [row for table in tables for row in table.to_pylist()]


def test_the_plan_and_manifest_of_the_pages_job(job: Path) -> None:
    planned = plan(load_spec(job))
    assert planned.num_unrunnable == 0
    expected(manifest_rows(planned))
    # A row that sets nothing has the ids of a job without mapped columns.
    free = plan(load_spec(job, {"columns": {}}))
    assert free.table["item_id"].to_pylist()[6:] == planned.table["item_id"].to_pylist()[6:]


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_of_the_pages_job(job: Path) -> None:
    report = jobs.run(load_spec(job), quiet=True)
    assert report.exit_code == 0
    rows = jobs.outputs(str(job.parent / "out")).to_pylist()
    expected(rows)
    sizes = [(row["height"], row["width"]) for row in rows]
    assert sizes == [(64, 64), *[(64, 96)] * 4, (64, 64)] * 2
    assert len({row["settings_fingerprint"] for row in rows}) == 6
    assert jobs.run(load_spec(job), quiet=True).generated == 0
    from jobs.output.replay import replay

    again = replay(str(job.parent / "out"), rows[1]["item_id"])
    assert again.within_bound
