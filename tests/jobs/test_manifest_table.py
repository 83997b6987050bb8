"""The manifest as a table: typed columns of the catalog, rows of a job that runs or was killed, parts, settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import StorageError
from dreamcache.core.records import Done, Failed
from dreamcache.storage.compaction import compact
from dreamcache.storage.ledger import Ledger
from jobs.output.folder import OutputFolder
from jobs.output.publish_manifest import publish_manifest
from jobs.output.reader import Manifest, first_outputs, outputs
from jobs.output.settings_file import add_settings
from jobs.planning.planner import Plan, plan

MakeSpec = Callable[..., JobSpec]


def done(item: str) -> Done:
    key = f"images/{item[:2]}/{item}.png"
    return Done(
        item_id=item, key=key, width=8, height=8, num_bytes=1, pixel_sha256="f", seconds=2.0, gpu_seconds=0.5
    )


def begin(spec: JobSpec) -> tuple[Plan, list[str], Ledger]:
    """What a run has written when its first item begins."""
    made, folder = plan(spec), OutputFolder(spec.output)
    folder.claim(spec)
    folder.write_plan(made.files, made.fingerprint)
    add_settings(folder, made)
    return made, made.table["item_id"].to_pylist(), Ledger(spec.output)


def publish(spec: JobSpec, made: Plan) -> None:
    publish_manifest(made, OutputFolder(spec.output), gallery=False)


def statuses(spec: JobSpec) -> list[str]:
    rows: list[str] = outputs(spec.output)["status"].to_pylist()
    return rows


def jsonl(tmp_path: Path, rows: list[dict[str, Any]]) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def types_of(spec: JobSpec) -> dict[str, str]:
    table = outputs(spec.output)
    return {
        name: str(table.schema.field(name).type) for name in table.column_names if name.startswith("attr_")
    }


def test_columns_of_the_catalog_have_types(make_spec: MakeSpec, tmp_path: Path) -> None:
    rows = [
        {
            "price": 10.5,
            "stock": 3,
            "sizes": ["S", "M"],
            "sale": True,
            "ean": "0123",
            "mixed": 1,
            "code": 2**60,
        },
        {
            "price": 12,
            "stock": None,
            "sizes": [],
            "sale": False,
            "ean": "99",
            "mixed": ["x"],
            "dims": [1, 2.5],
        },
    ]
    rows = [{"subject_id": name, "image": f"{name}.png", **row} for name, row in zip("ab", rows, strict=True)]
    spec = replace(make_spec(prompts=["a {price} thing"]), catalog=jsonl(tmp_path, rows))
    begin(spec)
    assert types_of(spec) == {
        "attr_price": "double", "attr_stock": "int64", "attr_sizes": "list<element: string>", "attr_sale": "bool",
        "attr_ean": "string", "attr_mixed": "string", "attr_code": "int64", "attr_dims": "list<element: double>",
    }  # fmt: skip
    first, second = outputs(spec.output).to_pylist()
    assert (first["attr_price"], first["price"], first["prompt"]) == (10.5, "10.5", "a 10.5 thing")
    assert (second["attr_price"], second["attr_stock"], second["attr_sizes"]) == (12.0, None, [])
    assert (first["attr_sizes"], first["sizes"], first["attr_code"]) == (["S", "M"], "S, M", 2**60)
    assert (first["attr_mixed"], second["attr_mixed"]) == ("1", "x")
    assert (first["attr_dims"], second["attr_dims"]) == (None, [1.0, 2.5])


def test_a_type_is_that_of_the_whole_catalog(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts in the last part alone decide for the first one too; digits after a zero are a code."""
    from tests.jobs.test_manifest import small_parts

    small_parts(monkeypatch, 2)
    catalog = "subject_id,image,price,size,ean,on\na,a.png,10.50,1,012,true\nb,b.png,-3,XL,345,FALSE\n"
    spec = make_spec(catalog)
    begin(spec)
    expected = {"attr_price": "double", "attr_size": "string", "attr_ean": "string", "attr_on": "bool"}
    assert types_of(spec) == expected
    made = plan(spec)
    publish(spec, made)
    assert types_of(spec) == expected
    rows = outputs(spec.output).to_pylist()
    assert [row["attr_price"] for row in rows[::2]] == [10.5, -3.0]
    assert [row["attr_on"] for row in rows[::2]] == [True, False]
    assert [row["price"] for row in rows[::2]] == ["10.50", "-3"]


def test_names_of_typed_columns_never_clash(make_spec: MakeSpec) -> None:
    spec = make_spec("subject_id,image,x,attr_x,seed,reference\na,a.png,1,2,3,4\nb,b.png,1,2,3,4\n")
    begin(spec)
    row = outputs(spec.output).to_pylist()[0]
    assert (row["x"], row["attr_x"], row["attr_attr_x"], row["attr_attr_attr_x"]) == ("1", "2", 1, 2)
    assert (row["catalog_seed"], row["attr_seed"], row["catalog_reference"]) == ("3", 3, "4")
    assert row["reference"] == row["image"]
    assert row["seed_text"] == str(row["seed"])


def test_a_job_that_runs_or_was_killed_is_read(make_spec: MakeSpec) -> None:
    spec = make_spec()
    with pytest.raises(StorageError, match="no plan") as caught:
        outputs(spec.output)
    assert caught.value.code == "no_manifest"
    made, ids, ledger = begin(spec)
    assert statuses(spec) == ["pending"] * 4
    ledger.append([done(ids[1])])
    ledger.append([Failed(item_id=ids[2], code="bad_image", message="m", attempts=2)])
    assert statuses(spec) == ["pending", "done", "failed", "pending"]
    assert compact(ledger, fan=2) == 1
    assert Manifest(spec.output).is_live
    rows = outputs(spec.output, status="done").to_pylist()
    assert [(row["uri"].endswith(f"{ids[1]}.png"), row["gpu_seconds"]) for row in rows] == [(True, 0.5)]
    assert first_outputs(spec.output, 1)[1] == 4
    publish(spec, made)
    assert not Manifest(spec.output).is_live
    assert pq.read_table(Path(spec.output, "manifest.parquet")).equals(outputs(spec.output))
    ledger.append([done(ids[0])])  # the next run
    assert Manifest(spec.output).is_live
    assert statuses(spec) == ["done", "done", "failed", "pending"]


def test_a_changed_plan_is_read_before_its_run_ends(make_spec: MakeSpec) -> None:
    spec = make_spec()
    made, ids, ledger = begin(spec)
    ledger.append([done(item) for item in ids])
    publish(spec, made)
    _, new, _ = begin(make_spec(prompts=["a {class_name} on sand", "other"]))
    rows = outputs(spec.output).to_pylist()
    assert [(row["item_id"], row["status"]) for row in rows] == [
        (item, "done" if item in ids else "pending") for item in new
    ]


def test_a_copy_of_the_results_alone_is_read(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    made, *_ = begin(spec)
    publish(spec, made)
    for name in ("manifest.parquet", "manifest.json"):
        (tmp_path / "copy").mkdir(exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(Path(spec.output, name).read_bytes())
    assert outputs(str(tmp_path / "copy")).num_rows == 4


@pytest.mark.parametrize("damage", [b"", b"PAR1 no", pytest.param(None, id="another table")])
def test_a_damaged_plan_is_reported(make_spec: MakeSpec, damage: bytes | None) -> None:
    spec = make_spec()
    begin(spec)
    part = Path(spec.output, "plan", "part-00000.parquet")
    if damage is None:
        pq.write_table(pa.table({"x": [1]}), part)
    else:
        part.write_bytes(damage)
    with pytest.raises(StorageError, match="part-00000") as caught:
        outputs(spec.output)
    assert caught.value.code == "bad_part"


def test_a_large_manifest_has_parts(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.jobs.test_manifest import small_parts

    small_parts(monkeypatch, 1)
    monkeypatch.setattr("jobs.output.manifest_files.ROWS_WITHOUT_PARTS", 3)
    monkeypatch.setattr("jobs.output.manifest_files.PART_ROWS", 2)
    spec = make_spec()
    made, ids, _ = begin(spec)
    publish(spec, made)
    parts = sorted(Path(spec.output, "manifest").iterdir())
    assert [part.name for part in parts] == ["part-00000.parquet", "part-00001.parquet"]
    whole = outputs(spec.output)
    Path(spec.output, "manifest.parquet").unlink()
    assert outputs(spec.output).equals(whole)
    assert [row["item_id"] for batch in Manifest(spec.output).batches(3) for row in batch.to_pylist()] == ids
    smaller, *_ = begin(make_spec(prompts=["x"]))
    publish(spec, smaller)
    assert not list(Path(spec.output, "manifest").iterdir())


def test_settings_are_named_by_their_fingerprint(make_spec: MakeSpec) -> None:
    spec = make_spec()
    begin(spec)
    begin(make_spec(seed=1, generation={"num_inference_steps": 7}))
    entries = json.loads(Path(spec.output, "settings.json").read_text())
    assert sorted(entry["generation"]["num_inference_steps"] for entry in entries.values()) == [7, 50]
    Path(spec.output, "settings.json").write_text("damaged")
    begin(spec)
    assert len(json.loads(Path(spec.output, "settings.json").read_text())) == 1


def test_scenes_have_settings_of_their_own(make_spec: MakeSpec) -> None:
    scenes = [{"name": "plain", "prompt": "x"}, {"name": "strong", "prompt": "x", "strength": 0.5}]
    spec = make_spec(prompts=[], scenes=scenes)
    begin(spec)
    entries = json.loads(Path(spec.output, "settings.json").read_text())
    assert sorted(entry["generation"]["strength"] for entry in entries.values()) == [0.5, 1.0]
    assert set(outputs(spec.output)["scene"].to_pylist()) == {"plain", "strong"}
