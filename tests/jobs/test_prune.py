"""Pruning by subject: what cannot be planned now keeps its images, and stands in nobody else's way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.records import Done
from dreamcache.storage.ledger import Ledger
from jobs.output.folder import OutputFolder
from jobs.planning.planner import plan
from jobs.reconcile.prune import Unplannable, orphans, prune_orphans

MakeSpec = Callable[..., JobSpec]
ALL = "subject_id,image\na,a.png\nb,b.png\n"


def generate(spec: JobSpec, *, with_subjects: bool = True) -> dict[str, str]:
    """An image and a record of every planned item; subject by item."""
    OutputFolder(spec.output).claim(spec)
    rows = plan(spec).table.to_pylist()
    subjects = {row["item_id"]: row["subject_id"] for row in rows}
    for item, subject in subjects.items():
        key = f"images/{item[:2]}/{item}.png"
        path = Path(spec.output, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")
        record = Done(item_id=item, key=key, width=1, height=1, num_bytes=5, pixel_sha256="f")
        Ledger(spec.output).append([record], subjects={item: subject} if with_subjects else None)
    return subjects


def orphaned(spec: JobSpec, subjects: dict[str, str]) -> tuple[set[str], int, str | None]:
    """(subjects of the images that would go, images that stay, note)."""
    made = plan(spec)
    unplannable = Unplannable(made)
    tables = list(orphans(made, Ledger(spec.output), unplannable))
    items = [item for table in tables for item in table["item_id"].to_pylist()]
    return {subjects[item] for item in items}, unplannable.num_kept, unplannable.note


def test_one_photo_that_cannot_be_read_costs_only_its_own_subject(make_spec: MakeSpec) -> None:
    spec = make_spec(ALL)
    subjects = generate(spec)
    changed = make_spec(ALL, prompts=["a {class_name} at night"])
    Path(changed.catalog).with_name("a.png").unlink()
    gone, num_kept, note = orphaned(changed, subjects)
    assert (gone, num_kept) == ({"b"}, 2) and note is not None and "2 images" in note
    made = plan(changed)
    assert prune_orphans(made, Ledger(spec.output)) == 2
    assert prune_orphans(made, Ledger(spec.output)) == 0
    there = {path.stem for path in Path(spec.output, "images").rglob("*.png")}
    assert {subjects[item] for item in there} == {"a"} and len(there) == 2


@pytest.mark.parametrize(
    ("catalog", "gone"),
    [
        # The row that names nobody may be b's, whose images stay; a is planned and well.
        ("subject_id,image\na,a.png\n,b.png\n", {"a"}),
        ("subject_id,image\na,a.png\nb,b.png\nb,b.png\n", {"a"}),
        ("subject_id,image\na,a.png\n", {"a", "b"}),
    ],
    ids=["row without id", "repeated id", "row is gone"],
)
def test_rows_that_cannot_be_used(catalog: str, gone: set[str], make_spec: MakeSpec) -> None:
    subjects = generate(make_spec(ALL))
    assert orphaned(make_spec(catalog, prompts=["a {class_name} at night"]), subjects)[0] == gone


def test_records_that_do_not_state_their_subject_stay_while_one_is_missing(make_spec: MakeSpec) -> None:
    subjects = generate(make_spec(ALL), with_subjects=False)
    changed = make_spec(ALL, prompts=["a {class_name} at night"])
    assert orphaned(changed, subjects)[:2] == ({"a", "b"}, 0)
    Path(changed.catalog).with_name("a.png").unlink()
    assert orphaned(changed, subjects)[:2] == (set(), 4)
