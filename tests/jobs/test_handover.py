"""A plan that `submit` hands over is used without a look at a photo, and only where the driver would plan the same."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dreamcache.core.config.job import JobSpec
from jobs.planning import handover
from jobs.planning.planner import Plan, plan

MakeSpec = Callable[..., JobSpec]


def handed(spec: JobSpec, folder: Path) -> Plan:
    """The plan as it was made; it lies in the folder."""
    catalog = handover.catalog_digest(spec)
    made = plan(spec)
    assert handover.write(folder, spec, made, catalog)
    return made


def test_the_plan_is_the_one_that_was_made_and_no_photo_is_read(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    made = handed(spec, tmp_path / "plan")
    for photo in tmp_path.rglob("*.png"):
        photo.unlink()
    read = handover.read(tmp_path / "plan", spec)
    assert isinstance(read, Plan), read
    assert read.table.equals(made.table) and read.fingerprint == made.fingerprint
    assert replace(read, files=made.files) == made


def test_what_differs_is_planned_anew(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec, folder = make_spec(), tmp_path / "plan"
    handed(spec, folder)
    now = time.time()
    assert "s old" in str(handover.read(folder, spec, lambda: now + 3 * handover.MOST_SECONDS))
    assert "s old" in str(handover.read(folder, spec, lambda: now - 3 * handover.MOST_SECONDS))
    assert "settings" in str(handover.read(folder, replace(spec, samples=2)))
    catalog = Path(spec.catalog)
    text = catalog.read_text()
    catalog.write_text(text.rstrip("\n") + " \n")
    assert handover.read(folder, spec) == "the catalog has changed"
    catalog.write_text(text)
    assert isinstance(handover.read(folder, spec), Plan)


def test_what_is_damaged_is_planned_anew(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec, folder = make_spec(), tmp_path / "plan"
    handed(spec, folder)
    part, header = folder / "part-00000.parquet", folder / handover.HEADER
    good, text = part.read_bytes(), header.read_text()
    part.write_bytes(good[:-9] + b"x" + good[-8:])
    assert "checksum" in str(handover.read(folder, spec))
    part.write_bytes(good)
    for wrong in (
        "{",
        "[]",
        "{}",
        json.dumps({**json.loads(text), "parts": ["../plan/part-00000.parquet"]}),
        json.dumps({**json.loads(text), "made_at": None}),
        json.dumps({**json.loads(text), "photos": {"notes": 7}}),
    ):
        header.write_text(wrong)
        assert "cannot be read" in str(handover.read(folder, spec)), wrong
    shutil.rmtree(folder)
    assert "cannot be read" in str(handover.read(folder, spec))


def test_only_a_plan_without_faults_of_a_catalog_that_stands_is_handed_over(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, folder = make_spec("subject_id,image\na,a.png\nc,none.png\n"), tmp_path / "plan"
    assert not handover.write(folder, spec, plan(spec), handover.catalog_digest(spec)), "a photo may come"
    spec = make_spec()
    made = plan(spec)
    assert not handover.write(folder, spec, made, "of another catalog")
    monkeypatch.setattr(handover, "MOST_BYTES", 100)
    assert not handover.write(folder, spec, made, handover.catalog_digest(spec)) and not folder.exists()
    photos = replace(spec, catalog=str(Path(spec.catalog).parent / "photos"))
    Path(photos.catalog).mkdir(exist_ok=True)
    assert handover.catalog_digest(photos) is None
