"""Crash windows of prune and retry, and blocked items in what people read."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import StorageError
from dreamcache.core.records import Blocked, Done, Failed
from dreamcache.storage.compaction import compact
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.part_log import PartLog, name_of
from dreamcache.storage.pruned import MARGIN, Pruned
from jobs.output.folder import OutputFolder
from jobs.output.manifest import Counts, count
from jobs.output.publish_manifest import publish_manifest
from jobs.planning.planner import plan
from jobs.reconcile.join import Join
from jobs.reconcile.prune import finish_prunes, prune_orphans
from jobs.reconcile.remaining import Recorded, find_work
from tests.jobs.test_work import finish, image, make

MakeSpec = Callable[..., JobSpec]
SMALLER = "subject_id,image\na,a.png\n"


def orphans_of(make_spec: MakeSpec) -> tuple[JobSpec, Ledger, list[str]]:
    """A finished job whose catalog has lost subject b: its spec, ledger and orphaned items."""
    finish(make_spec())
    before = plan(make_spec()).table["item_id"].to_pylist()
    smaller = make_spec(SMALLER)
    kept = set(plan(smaller).table["item_id"].to_pylist())
    return smaller, Ledger(smaller.output), [item for item in before if item not in kept]


def die(*_: object) -> str:
    raise RuntimeError("killed")


def test_a_prune_that_dies_before_its_announcement_deletes_nothing(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, ledger, items = orphans_of(make_spec)

    monkeypatch.setattr(Pruned, "announce", die)
    with pytest.raises(RuntimeError, match="killed"):
        prune_orphans(plan(spec), ledger)
    assert all(image(spec, item).exists() for item in items)
    assert all(ledger.outcomes()[item].status == "done" for item in items)


def test_a_prune_that_dies_while_deleting_is_finished_by_the_next(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, ledger, items = orphans_of(make_spec)
    with monkeypatch.context() as patch:
        patch.setattr(Pruned, "finish", die)
        with pytest.raises(RuntimeError, match="killed"):
            prune_orphans(plan(spec), ledger)
    assert not set(items) & set(ledger.outcomes()), "the records are void before any image is gone"
    assert len(ledger.pruned.unfinished()) == 1
    with pytest.raises(StorageError, match="prune") as caught:
        find_work(plan(make_spec()), ledger)
    assert caught.value.code == "prune_unfinished"
    assert finish_prunes(ledger) == len(items)
    assert ledger.pruned.unfinished() == []
    assert find_work(plan(make_spec()), ledger).num_pending == len(items)


def test_a_prune_takes_images_only_and_leaves_failed_and_blocked_orphans(make_spec: MakeSpec) -> None:
    spec, ledger, items = orphans_of(make_spec)
    ledger.append([Failed(item_id="gone-1", code="bad_image", message="m", attempts=2)])
    ledger.append([Blocked(item_id="gone-2", code="low_quality", message="m")])
    assert prune_orphans(plan(spec), ledger) == len(items)
    assert not any(image(spec, item).exists() for item in items)
    outcomes = ledger.outcomes()
    assert (outcomes["gone-1"].status, outcomes["gone-2"].status) == ("failed", "blocked")
    assert ledger.pruned.limits().keys() == set(items), "only an item with an image is announced"


def test_of_two_announcements_the_larger_limit_counts_whatever_is_listed_last(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    done = Done(
        item_id="a", key="images/a/a.png", width=1, height=1, num_bytes=1, pixel_sha256="f", attempts=150
    )
    ledger.append([done])
    schema = ledger.pruned.log.settings.format.schema
    log: PartLog = ledger.pruned.log
    for name, limits in (("1", (1, 200)), ("2", (1 + MARGIN, 2)), ("3", (3, 4))):
        rows = [
            {"item_id": item, "key": f"images/{item}/{item}.png", "attempts": n}
            for item, n in zip("ab", limits, strict=True)
        ]
        log.append(name, pa.Table.from_pylist(rows, schema=schema))
    assert [name_of(info.uri) for info in log.parts()] == [f"pruned-{n}.parquet" for n in "123"]
    assert ledger.pruned.limits() == {"a": 1 + MARGIN, "b": 200}
    assert ledger.outcomes() == {"a": done}


def test_a_retried_item_is_unrecorded_until_its_new_attempt_is_recorded(make_spec: MakeSpec) -> None:
    """The old record may be read again: compaction gives it a part that the driver has not seen."""
    spec = make_spec()
    made, ledger = plan(spec), Ledger(spec.output)
    first, second, *_ = made.table["item_id"].to_pylist()
    ledger.append([Failed(item_id=first, code="x", message="m")])
    ledger.append([Blocked(item_id=second, code="y", message="m", attempts=3)])
    [rows] = find_work(made, ledger, lambda outcome: True).windows()
    attempts = dict(zip(rows["item_id"].to_pylist(), rows["attempts"].to_pylist(), strict=True))
    assert (attempts[first], attempts[second]) == (1, 3)
    recorded = Recorded(ledger)
    assert compact(ledger, fan=2) == 1
    assert recorded.unrecorded(rows).equals(rows)
    ledger.append([Failed(item_id=first, code="x", message="m", attempts=2)])
    assert recorded.unrecorded(rows).equals(rows.slice(1))
    ledger.append([Blocked(item_id=second, code="y", message="m", attempts=3)])
    assert recorded.unrecorded(rows).equals(rows.slice(1)), "an attempt that the row counts already"
    make(spec, ledger, second, attempts=4)
    assert recorded.unrecorded(rows).equals(rows.slice(2))


def test_retry_takes_blocked_items_that_it_wants_and_no_others(make_spec: MakeSpec) -> None:
    spec = make_spec()
    made, ledger = plan(spec), Ledger(spec.output)
    ids = made.table["item_id"].to_pylist()
    ledger.append([Blocked(item_id=ids[0], code="low_quality", message="m", attempts=2)])
    ledger.append([Blocked(item_id=ids[1], code="safety_checker", message="m")])
    make(spec, ledger, ids[2])
    work = find_work(made, ledger, lambda outcome: getattr(outcome, "code", "") == "low_quality")
    [rows] = work.windows()
    assert dict(zip(rows["item_id"].to_pylist(), rows["attempts"].to_pylist(), strict=True)) == {
        ids[0]: 2,
        ids[3]: 0,
    }
    assert find_work(made, ledger).num_pending == 1, "without a retry a blocked item is finished"


def test_failed_csv_lists_blocked_items_and_counts_are_of_the_plan(make_spec: MakeSpec) -> None:
    spec = make_spec()
    made, ledger = plan(spec), Ledger(spec.output)
    ids = made.table["item_id"].to_pylist()
    make(spec, ledger, ids[0])
    ledger.append([Blocked(item_id=ids[1], code="safety_checker", message="withheld", attempts=2)])
    ledger.append([Failed(item_id=ids[2], code="bad_image", message="broken")])
    for item in ("gone-1", "gone-2"):
        make(spec, ledger, item)
        ledger.append([Failed(item_id=item, code="x", message="m", attempts=5)])
    ledger.append([Blocked(item_id="gone-3", code="y", message="m")])
    counts, _ = publish_manifest(made, OutputFolder(spec.output), gallery=False)
    assert counts == Counts(done=1, blocked=1, failed=1, pending=1, orphaned=3), "an orphan counts once"
    with Join(made.files, ledger.scan()) as join:
        assert count(join.windows()) == counts
    with Path(spec.output, "failed.csv").open(newline="") as file:
        rows = [
            (row["item_id"], row["code"], row["message"], row["attempts"]) for row in csv.DictReader(file)
        ]
    assert rows == [(ids[1], "safety_checker", "withheld", "2"), (ids[2], "bad_image", "broken", "1")]


def test_the_folder_of_a_later_release_is_refused_in_one_line(make_spec: MakeSpec) -> None:
    spec = make_spec()
    folder = OutputFolder(spec.output)
    folder.claim(spec)
    file = Path(spec.output, "job.yaml")
    assert "\n# Folder format 1.\n" in file.read_text()
    file.write_text(file.read_text().replace("# Folder format 1.\n", ""))
    folder.claim(spec)  # written before folders had a number
    publish_manifest(plan(spec), folder, gallery=False)
    later = file.read_text().replace("format 1.", "format 2.")
    file.write_text(later)
    from jobs.output.reader import outputs

    for action in (lambda: folder.claim(spec), lambda: outputs(spec.output)):
        with pytest.raises(
            StorageError, match=r"has folder format 2, this release reads up to 1; update"
        ) as caught:
            action()
        assert caught.value.code == "newer_format" and "\n" not in str(caught.value)
    assert file.read_text() == later
