"""Settings and catalogs that change between two runs of a job: what is there stays, the difference is made."""

from __future__ import annotations

import json

import pytest

from tests.chaos.end_state import Images, assert_not_rewritten, assert_same_end, assert_whole
from tests.chaos.shop import ITEMS, PROMPTS, SUBJECTS, Shop
from tests.command import dreamcache
from tests.end_to_end.photos import picture, write_photos
from tests.end_to_end.s3_job import S3Job

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.turns(unit="module"),
    pytest.mark.timeout(900),
]

THIRD = ITEMS // 3
OTHER = ("--set", "workers.batch_size=3", "--set", "workers.generators.count=2")


@pytest.fixture(scope="module")
def stopped(shop: Shop, calm: S3Job) -> tuple[S3Job, Images]:
    """The job after a third, and its images then."""
    job = shop.job("changes", cache=f"{calm.folder}/cache")
    shop.run(job, "--set", f"limits.max_items={THIRD}", code=4)
    return job, job.objects("images/")


@pytest.fixture(scope="module")
def continued(shop: Shop, stopped: tuple[S3Job, Images]) -> S3Job:
    """The same job to its end, with other batches and workers."""
    job, first = stopped
    assert len(first) == THIRD
    assert_whole(job, shop.server)
    assert shop.run(job, *OTHER)["generated"] == ITEMS - THIRD
    return job


def test_after_a_third_with_other_batches_and_workers(
    shop: Shop, calm: S3Job, stopped: tuple[S3Job, Images], continued: S3Job
) -> None:
    assert_same_end(continued, calm, shop.server, committed=[stopped[1]], exact=False)


def test_a_catalog_with_rows_changed_removed_and_added(shop: Shop, calm: S3Job, continued: S3Job) -> None:
    """Of 20 rows one has another photo, one a prompt of its own, one is gone, one is new."""
    local, before = shop.folder / "changes", continued.objects("images/")
    rows = write_photos(local, SUBJECTS + 1)
    picture(1000).save(local / "p0.png")
    rows[1]["prompts"] = "a {class_name} at dawn"
    del rows[2]
    job = shop.job("changes", rows=rows, cache=f"{calm.folder}/cache")
    made, pruned = len(PROMPTS) + 1 + len(PROMPTS), 2 * len(PROMPTS)

    def plan() -> dict[str, object]:
        report = json.loads(dreamcache("plan", job.path, "--json", extra=shop.environment()).stdout)
        return {name: report[name] for name in ("new", "changed", "unchanged", "orphans")}

    orphans = {"replaced": len(PROMPTS), "dropped": 0, "removed": len(PROMPTS)}
    kept = ITEMS - pruned
    assert plan() == {
        "new": 1 + len(PROMPTS),
        "changed": len(PROMPTS),
        "unchanged": kept,
        "orphans": orphans,
    }
    dry = dreamcache("run", job.path, "--prune", "--dry-run", "--json", extra=shop.environment())
    doomed = {uri.removeprefix(f"{job.output}/") for uri in json.loads(dry.stdout)["would_delete"]}
    assert len(doomed) == pruned and doomed < set(before)
    answer = shop.run(job, "--prune")
    assert (answer["generated"], answer["pruned"], answer["total"]) == (made, pruned, kept + made)
    assert not doomed & set(job.objects("images/"))
    assert_not_rewritten(job, [{key: state for key, state in before.items() if key not in doomed}])
    assert plan() == {
        "new": 0,
        "changed": 0,
        "unchanged": kept + made,
        "orphans": {"replaced": 0, "dropped": 0, "removed": 0},
    }

    shop.folder.joinpath("changed").mkdir()
    for row in rows:
        (shop.folder / "changed" / row["image"]).write_bytes((local / row["image"]).read_bytes())
    fresh = shop.job("changed", rows=rows, cache=f"{calm.folder}/cache")
    shop.run(fresh)
    assert_same_end(job, fresh, shop.server, exact=False)
