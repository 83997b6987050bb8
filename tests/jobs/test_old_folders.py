"""Folders that an older release wrote stay readable: columns it did not know are null."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core.config.job import JobSpec
from dreamcache.core.records import Done, Failed
from dreamcache.storage.compaction import compact
from dreamcache.storage.ledger import Ledger, to_row
from dreamcache.storage.sealed_parquet import seal
from jobs.output.folder import OutputFolder
from jobs.output.manifest import MANIFEST_COLUMNS
from jobs.output.publish_manifest import publish_manifest
from jobs.output.reader import first_outputs, outputs, scan_outputs
from jobs.output.replay import find_planned
from jobs.planning.planner import plan
from jobs.reconcile.remaining import find_work
from tests.storage.test_schema import ERROR, LEDGER_2, MANIFEST_OF_0_1, REQUEST, TEXT

MakeSpec = Callable[..., JobSpec]
CATALOG = "subject_id,image,scene\na,a.png,red\nb,b.png,blue\n"
NEW = ("scene", "segment_note", "settings_fingerprint", "recorded_at")


def done(item: str, **values: str) -> Done:
    key = f"images/{item[:2]}/{item}.png"
    return Done(item_id=item, key=key, width=1, height=1, num_bytes=1, pixel_sha256="f", **values)  # type: ignore[arg-type]


def old_part(spec: JobSpec, name: str, *outcomes: Done | Failed) -> None:
    """A ledger part as the older release wrote it, some time ago."""
    rows = [to_row(outcome, datetime(2026, 1, 1, tzinfo=UTC)) for outcome in outcomes]
    table = pa.Table.from_pylist(rows, schema=LEDGER_2)
    path = Path(spec.output, "ledger", f"part-{name}.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(seal(table, {"dreamcache.schema": "dreamcache.ledger/2"}))


def old_folder(spec: JobSpec) -> list[str]:
    """Plan, ledger and manifest as the older release left them; returns the planned items."""
    table = plan(spec).table
    ids: list[str] = table["item_id"].to_pylist()
    names = [name for name, _ in (*REQUEST, *ERROR, ("attributes", TEXT))]
    Path(spec.output, "plan").mkdir(parents=True)
    pq.write_table(table.select(names), Path(spec.output, "plan", "part-00000.parquet"))
    old_part(spec, "1", done(ids[0]), Failed(item_id=ids[1], code="x", message="m", attempts=2))
    rows = [dict(row, status="done") for row in table.to_pylist()]
    schema = pa.schema([*MANIFEST_OF_0_1, ("color", TEXT)])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), Path(spec.output, "manifest.parquet"))
    return ids


def test_an_old_manifest_has_nulls_for_what_it_does_not_have(make_spec: MakeSpec) -> None:
    spec = make_spec()
    ids = old_folder(spec)
    table = outputs(spec.output)
    assert table["item_id"].to_pylist() == ids
    assert set(table.column_names) == {name for name, _ in MANIFEST_COLUMNS} | {"color"}
    assert all(table[name].null_count == table.num_rows for name in NEW)
    assert outputs(spec.output, status="done", columns=["scene"]).to_pylist() == [{"scene": None}] * 4
    assert sum(batch.num_rows for batch in scan_outputs(spec.output, columns=list(NEW))) == 4
    assert first_outputs(spec.output, 1)[0]["recorded_at"].to_pylist() == [None]


def test_an_old_plan_part_names_its_items(make_spec: MakeSpec) -> None:
    spec = make_spec()
    [item, *_] = old_folder(spec)
    assert find_planned(OutputFolder(spec.output), item[:20])["subject_id"] == "a"


def test_old_and_new_records_go_together(make_spec: MakeSpec) -> None:
    spec = make_spec(CATALOG)
    ids = old_folder(spec)
    made, ledger = plan(spec), Ledger(spec.output)
    assert find_work(made, ledger).num_pending == 2
    ledger.append([done(ids[2], settings_fingerprint="f1"), done(ids[1], settings_fingerprint="f1")])
    old_part(spec, "2", done(ids[2]))
    before = ledger.outcomes()
    assert [before[item].settings_fingerprint for item in ids[:3]] == [None, "f1", "f1"]
    assert compact(ledger, fan=3) == 2
    assert ledger.outcomes() == before
    publish_manifest(made, OutputFolder(spec.output), gallery=True)
    rows = outputs(spec.output).to_pylist()
    assert [row["settings_fingerprint"] for row in rows] == [None, "f1", "f1", None]
    assert [row["recorded_at"] is not None for row in rows] == [True, True, True, False]
    assert [row["scene"] for row in rows] == ["0", "1", "0", "1"]
    assert [row["catalog_scene"] for row in rows] == ["red", "red", "blue", "blue"], (
        "the catalog's own column"
    )


def test_scenes_are_the_templates_that_gave_the_prompts(make_spec: MakeSpec) -> None:
    catalog = "subject_id,image,prompts\na,a.png,a mug on sand|in a bag|a {class_name} in snow\nb,b.png,\nc,none.png,\n"
    spec = make_spec(catalog, class_name="mug", samples=2)
    rows = plan(spec).table.to_pylist()
    scenes = {(row["subject_id"], row["prompt"]): row["scene"] for row in rows}
    assert scenes == {
        ("a", "a mug on sand"): "row:0",
        ("a", "in a bag"): "row:1",
        ("a", "a mug in snow"): "row:2",
        ("b", "a mug on sand"): "0",
        ("b", "a mug in snow"): "1",
        ("c", "a mug on sand"): "0",
        ("c", "a mug in snow"): "1",
    }
    assert len(rows) == 14 and all(row["scene"] for row in rows)
