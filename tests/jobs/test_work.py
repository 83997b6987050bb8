"""What is left to do: windows in plan order, retries, records of this run, catalogs that change, pruning."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import StorageError
from dreamcache.core.records import Blocked, Done, Failed
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.status import Status, now, read_status, write_status
from jobs.output.folder import OutputFolder
from jobs.output.publish_manifest import publish_manifest
from jobs.output.reader import outputs, scan_outputs_if_any
from jobs.planning.planner import plan
from jobs.reconcile.changes import OLD_COLUMNS, Changes, find_changes
from jobs.reconcile.join import Join
from jobs.reconcile.prune import finish_prunes, orphans, prune_orphans
from jobs.reconcile.remaining import Recorded, find_work
from jobs.running.planned import record_unrunnable
from jobs.running.runner import run
from jobs.spec import dump_spec
from tests.command import in_process
from tests.jobs.test_manifest import small_parts
from workers.tables import PLANNED

MakeSpec = Callable[..., JobSpec]
ROWS = 5


def finish(spec: JobSpec) -> None:
    """What a run does, without a model: every pending item gets an image and a record, then the manifest."""
    made, ledger = plan(spec), Ledger(spec.output)
    OutputFolder(spec.output).claim(spec)
    for rows in find_work(made, ledger).windows():
        for row in rows.to_pylist():
            make(spec, ledger, row["item_id"], row["attempts"] + 1)
    publish_manifest(made, OutputFolder(spec.output), gallery=False)


def make(spec: JobSpec, ledger: Ledger, item: str, attempts: int = 1) -> None:
    path = image(spec, item)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"made at attempt {attempts}".encode())
    key = f"images/{item[:2]}/{item}.png"
    ledger.append(
        [Done(item_id=item, key=key, width=1, height=1, num_bytes=1, pixel_sha256="f", attempts=attempts)]
    )


def image(spec: JobSpec, item: str) -> Path:
    return Path(spec.output, "images", item[:2], f"{item}.png")


def changes_of(spec: JobSpec) -> Changes:
    with Join(plan(spec).files, Ledger(spec.output).scan()) as join:
        return find_changes(join, scan_outputs_if_any(spec.output, columns=OLD_COLUMNS))


def test_windows_are_what_is_left_in_plan_order(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch, 3)
    spec = make_spec("subject_id,image\na,a.png\nb,b.png\nc,none.png\n", samples=4)
    made, ledger = plan(spec), Ledger(spec.output)
    rows = made.table.to_pylist()
    ids = [row["item_id"] for row in rows]
    make(spec, ledger, ids[1])
    ledger.append(
        [
            Failed(item_id=ids[2], code="x", message="m", attempts=2),
            Failed(item_id="gone", code="x", message=""),
        ]
    )
    ledger.append([Blocked(item_id=ids[3], code="y", message="m", attempts=4)])

    work = find_work(made, ledger)
    windows = list(work.windows(ROWS))
    assert [table.num_rows for table in windows] == [5, 5, 3]
    assert all(table.schema.equals(PLANNED) for table in windows)
    got = [row["item_id"] for table in windows for row in table.to_pylist()]
    assert got == [ident for n, ident in enumerate(ids[:16]) if n not in (1, 2, 3)]
    assert sum(table.num_rows for table in work.unrunnable()) == work.num_unrunnable == 8
    assert work.num_pending == 13 + 8

    again = find_work(made, ledger, lambda outcome: getattr(outcome, "code", "") == "x")
    [first, *_] = again.windows()
    assert {row["item_id"]: row["attempts"] for row in first.to_pylist()} == {ids[0]: 0, ids[2]: 2} | {
        ident: 0 for ident in ids[4:16]
    }
    whole = find_work(made, ledger, lambda outcome: True)
    accepted = [row["item_id"] for table in whole.windows() for row in table.to_pylist()]
    assert accepted == [ident for n, ident in enumerate(ids[:16]) if n != 1], (
        "what is done is never run again"
    )


def test_records_of_this_run_are_seen(make_spec: MakeSpec) -> None:
    spec = make_spec()
    made, ledger = plan(spec), Ledger(spec.output)
    ids = made.table["item_id"].to_pylist()
    ledger.append([Failed(item_id=ids[0], code="x", message="m")])
    [rows] = find_work(made, ledger, lambda outcome: True).windows()
    recorded = Recorded(ledger)
    assert recorded.unrecorded(rows).equals(rows), "an earlier attempt's record is not one of this run"
    # The same record in another part, as compaction writes it.
    again = [Failed(item_id=item, code="x", message="m") for item in (ids[0], "f" * 64)]
    ledger.append(again)
    assert recorded.unrecorded(rows).equals(rows)
    make(spec, ledger, ids[1])
    ledger.append([Failed(item_id=ids[0], code="x", message="m", attempts=2)])
    assert recorded.unrecorded(rows)["item_id"].to_pylist() == ids[2:]


def test_items_that_cannot_run_are_recorded_with_their_attempt(make_spec: MakeSpec) -> None:
    made = plan(spec := make_spec("subject_id,image\nc,none.png\n"))
    ledger = Ledger(spec.output)
    for attempts in (1, 2):
        work = find_work(made, ledger, lambda outcome: True)
        assert (
            sum(sum(codes.values()) for codes in record_unrunnable(work, ledger))
            == work.num_unrunnable
            == made.num_items
        )
        assert {outcome.attempts for outcome in ledger.outcomes().values()} == {attempts}


def test_items_that_were_pending_are_no_orphans(make_spec: MakeSpec) -> None:
    spec = make_spec()
    OutputFolder(spec.output).claim(spec)
    publish_manifest(plan(spec), OutputFolder(spec.output), gallery=False)
    assert set(outputs(spec.output)["status"].to_pylist()) == {"pending"}
    fewer = changes_of(make_spec("subject_id,image\na,a.png\n"))
    assert (fewer.replaced, fewer.dropped, fewer.removed) == (0, 0, 0)


def test_only_the_difference_is_to_be_made(make_spec: MakeSpec) -> None:
    three = "subject_id,image\na,a.png\nb,b.png\nc,a.png\n"
    spec = make_spec(three)
    assert (changes_of(spec).new, changes_of(spec).unchanged) == (6, 0)
    finish(spec)
    assert changes_of(spec).unchanged == 6

    # b has another photo, c is gone, d is new, and one prompt gave way to another.
    spec = make_spec(three.replace("c,a.png", "d,a.png"), prompts=["a {class_name} on sand", "in rain"])
    Path(spec.catalog).with_name("b.png").write_bytes(b"another photo")
    found = changes_of(spec)
    # b on sand is changed; "in rain" of a and b, and both of d are new.
    assert (found.unchanged, found.changed, found.new) == (1, 1, 4)
    assert (found.orphaned, found.replaced, found.dropped, found.removed) == (5, 1, 2, 2)
    finish(spec)
    after = changes_of(spec)
    assert (after.unchanged, after.new, after.changed, after.orphaned) == (6, 0, 0, 5)
    assert outputs(spec.output)["status"].to_pylist() == ["done"] * 6


def test_pruned_images_are_made_again_when_planned_again(make_spec: MakeSpec) -> None:
    spec = make_spec()
    finish(spec)
    before = plan(spec).table["item_id"].to_pylist()
    smaller = make_spec("subject_id,image\na,a.png\n")
    made, ledger = plan(smaller), Ledger(spec.output)
    listed = [item for table in orphans(made, ledger) for item in table["item_id"].to_pylist()]
    assert set(listed) == set(before[2:])
    assert all(image(spec, item).exists() for item in before), "to list them deletes nothing"
    assert prune_orphans(made, ledger) == 2
    assert [image(spec, item).exists() for item in before] == [True, True, False, False]
    assert set(ledger.outcomes()) == set(before[:2])
    assert prune_orphans(made, ledger) == 0

    finish(make_spec())
    assert all(image(spec, item).exists() for item in before)
    assert set(ledger.outcomes()) == set(before)
    assert outputs(spec.output)["status"].to_pylist() == ["done"] * 4


def test_a_late_record_of_a_pruned_image_is_void(make_spec: MakeSpec) -> None:
    """A driver that began before the pruning, and records after it what it counted before."""
    spec = make_spec()
    finish(spec)
    [*_, item] = plan(spec).table["item_id"].to_pylist()
    made, ledger = plan(make_spec("subject_id,image\na,a.png\n")), Ledger(spec.output)
    prune_orphans(made, ledger)
    key = f"images/{item[:2]}/{item}.png"
    ledger.append([Done(item_id=item, key=key, width=1, height=1, num_bytes=1, pixel_sha256="f", attempts=2)])
    assert item not in ledger.outcomes()


def test_a_prune_that_broke_off_is_finished_first(make_spec: MakeSpec) -> None:
    spec = make_spec()
    finish(spec)
    made, ledger = plan(make_spec("subject_id,image\na,a.png\n")), Ledger(spec.output)
    for images in orphans(made, ledger):
        ledger.pruned.announce(images)  # and killed
    find_work(made, ledger)  # another plan is not concerned
    with pytest.raises(StorageError, match="dreamcache run --prune") as caught:
        find_work(plan(make_spec()), ledger)
    assert caught.value.code == "prune_unfinished"
    assert finish_prunes(ledger) == 2
    assert finish_prunes(ledger) == 0
    assert find_work(plan(make_spec()), ledger).num_pending == 2


def test_the_command_reports_changes_and_orphans(make_spec: MakeSpec, tmp_path: Path) -> None:
    finish(make_spec())
    job = tmp_path / "job.yaml"
    job.write_text(dump_spec(make_spec("subject_id,image\na,a.png\n")))
    planned = json.loads(in_process("plan", str(job), "--json").stdout)
    assert {name: planned[name] for name in ("new", "unchanged", "changed", "orphaned", "done")} == {
        "new": 0, "unchanged": 2, "changed": 0, "orphaned": 2, "done": 2
    }  # fmt: skip
    assert planned["orphans"] == {"replaced": 0, "dropped": 0, "removed": 2}
    text = in_process("plan", str(job)).stdout
    assert "new 0  unchanged 2  changed 0  orphaned 2" in text
    listed = json.loads(in_process("run", str(job), "--prune", "--dry-run", "--json").stdout)["would_delete"]
    assert len(listed) == 2 and all(Path(path).exists() for path in listed)
    assert in_process("run", str(job), "--dry-run").returncode == 2
    ran = json.loads(in_process("run", str(job), "--prune", "--json").stdout)
    assert (ran["pruned"], ran["generated"], ran["exit_code"], ran["orphaned"]) == (2, 0, 0, 0)
    assert not any(Path(path).exists() for path in listed)


def test_nothing_is_pruned_while_a_photo_cannot_be_read(make_spec: MakeSpec, tmp_path: Path) -> None:
    """A share that is not mounted must not cost the images made of its photos."""
    spec = make_spec()
    finish(spec)
    before = plan(spec).table["item_id"].to_pylist()
    job, photo = tmp_path / "job.yaml", Path(spec.catalog).with_name("a.png")
    job.write_text(dump_spec(spec))
    data = photo.read_bytes()
    photo.unlink()
    listed = json.loads(in_process("run", str(job), "--prune", "--dry-run", "--json").stdout)
    assert (listed["would_delete"], listed["kept"]) == ([], 2) and "2 planned items" in listed["note"]
    ran = json.loads(in_process("run", str(job), "--prune", "--json").stdout)
    assert (ran["pruned"], ran["failed"], ran["exit_code"]) == (0, 2, 3)
    photo.write_bytes(data)
    ran = json.loads(in_process("run", str(job), "--json").stdout)
    assert (ran["generated"], ran["done"], ran["exit_code"]) == (0, 4, 0)
    assert all(image(spec, item).exists() for item in before)


def test_a_retry_stopped_by_a_limit_says_so(make_spec: MakeSpec) -> None:
    spec = make_spec(limits={"max_hours": 1})
    OutputFolder(spec.output).claim(spec)
    ids = plan(spec).table["item_id"].to_pylist()
    Ledger(spec.output).append([Failed(item_id=item, code="x", message="m") for item in ids])
    moment = now()
    before = Status(kind="job", name="job", state="stopped", started_at=moment, updated_at=moment)
    write_status(spec.output, replace(before, details={"spent": {"hours": 2.0}}))
    report = run(spec, retry=lambda outcome: True, gallery=False, quiet=True)
    assert report.exit_code == 4
    assert report.stopped is not None and "max_hours" in report.stopped


def test_a_run_that_cannot_write_its_manifest_has_failed(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    finish(spec)

    def full(*_: object, **__: object) -> None:
        raise StorageError("no room", code="no_space")

    monkeypatch.setattr("jobs.running.runner.publish_manifest", full)
    with pytest.raises(StorageError, match="no room"):
        run(spec, gallery=False, quiet=True)
    status = read_status(spec.output)
    assert status is not None and (status.state, status.exit_reason) == ("failed", "no room")


def test_what_a_storage_outage_failed_is_tried_again_by_the_same_command(make_spec: MakeSpec) -> None:
    spec = make_spec()
    made, ledger = plan(spec), Ledger(spec.output)
    ids = made.table["item_id"].to_pylist()
    ledger.append([
        Failed(item_id=ids[0], code="storage_unreachable", message="m", attempts=2),
        Failed(item_id=ids[1], code="access_denied", message="m"),
    ])  # fmt: skip
    [rows] = find_work(made, ledger).windows()
    assert rows["item_id"].to_pylist() == [ids[0], *ids[2:]]
    assert rows["attempts"].to_pylist() == [2, 0, 0]
