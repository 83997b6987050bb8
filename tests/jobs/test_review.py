"""Review from file to plan: verdicts are recorded once, conflicts named, rejected items replaced, approved kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError, StorageError
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.reviews import Reviews
from jobs.output.reader import Manifest, first_outputs, outputs, scan_outputs
from jobs.planning.planner import plan
from jobs.reconcile.prune import prune_orphans
from jobs.review.record import items_of, record
from jobs.review.rejected import count_rejected, replace_rejected
from jobs.review.verdict_file import read_verdicts
from tests.command import error_of, in_process
from tests.jobs.reviewed import AT, generate, review_file

MakeSpec = Callable[..., JobSpec]


def states(spec: JobSpec) -> dict[str, str]:
    rows = outputs(spec.output, columns=["item_id", "review"]).to_pylist()
    return {row["item_id"]: row["review"] for row in rows}


def test_from_review_file_to_the_next_run(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    a, b, c, d = generate(spec)
    file = review_file(
        tmp_path, (a, "approve", "ana", "", "", AT), (b, "reject", "ana", "wrong colour", "too green", AT),
        (c, "reject", "ana", "", "", AT), (d, ""),
    )  # fmt: skip
    done = in_process("review", spec.output, file, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["recorded"], answer["problems"]) == (0, 3, [])
    assert answer["counts"] == {"approved": 1, "rejected": 2, "conflict": 0, "pending": 1}
    again = json.loads(in_process("review", spec.output, file, "--json").stdout)
    assert (again["recorded"], again["repeated"]) == (0, 3)
    assert states(spec) == {a: "approved", b: "rejected", c: "rejected", d: "pending"}

    assert [row["items"] for row in count_rejected(spec.output, ["wrong colour"])] == [1]
    assert replace_rejected(spec.output, ["wrong colour"]) == 1
    assert replace_rejected(spec.output, []) == 1, "what was retried is not retried twice"
    planned = plan(spec, keep_approved=True).table
    new = [item for item in planned["item_id"].to_pylist() if item not in {a, b, c, d}]
    assert set(planned["item_id"].to_pylist()) == {a, d, *new} and len(new) == 2
    rows = {row["item_id"]: row for row in planned.to_pylist()}
    assert all(rows[item]["seed"] == int(item[:16], 16) & (2**63 - 1) for item in new)
    assert generate(spec, keep_approved=True) == [
        item for item in planned["item_id"].to_pylist() if item in new
    ]
    assert states(spec) == {a: "approved", **dict.fromkeys(new, "pending"), d: "pending"}
    assert generate(spec) == [], "a plain run has nothing to do either"

    # Rejected twice: its place gets a third item.
    in_process("review", spec.output, review_file(tmp_path, (new[0], "reject", "ana")))
    replace_rejected(spec.output, [])
    (third,) = generate(spec)
    assert third not in {a, b, c, d, *new}


def test_exports_hold_what_is_approved(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    a, b, *_ = generate(spec)
    in_process("review", spec.output, review_file(tmp_path, (a, "approve", "ana"), (b, "reject", "ana")))
    target = tmp_path / "images"
    layout = ("--layout", "{item_id}.{ext}")
    done = in_process("export", spec.output, str(target), "--approved", *layout, "--json")
    assert (done.returncode, json.loads(done.stdout)["written"]) == (0, 1), done.stderr
    assert [path.name for path in target.glob("*.png")] == [f"{a}.png"]


def test_approved_images_keep_their_place_when_settings_change(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    a, b, c, d = generate(spec)
    in_process("review", spec.output, review_file(tmp_path, (a, "approve", "ana"), (b, "reject", "ana")))
    changed = make_spec(seed=5)
    ids = plan(changed, keep_approved=True).table["item_id"].to_pylist()
    assert a in ids and not {b, c, d} & set(ids)
    assert not {a, b, c, d} & set(plan(changed).table["item_id"].to_pylist()), "not asked for, all is new"
    assert len(generate(changed, keep_approved=True)) == 3
    row = next(row for row in outputs(spec.output).to_pylist() if row["item_id"] == a)
    assert (row["status"], row["review"], row["reviewer"]) == ("done", "approved", "ana")
    assert prune_orphans(plan(make_spec(prompts=["other"])), Ledger(spec.output)) == 6
    assert [path.stem for path in Path(spec.output, "images").rglob("*.png")] == [a], "approved images stay"
    # An approved image that the ledger has no more is no reason to generate another one under its id.
    for part in Path(spec.output, "ledger").iterdir():
        part.unlink()
    assert a not in plan(changed, keep_approved=True).table["item_id"].to_pylist()


def test_two_reviewers_who_differ(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    a, *_ = generate(spec)
    in_process("review", spec.output, review_file(tmp_path, (a, "approve", "ana", "", "", AT)))
    later = (a, "reject", "ben", "artifacts", "", "2026-11-27T11:00:00Z")
    done = in_process("review", spec.output, review_file(tmp_path, later))
    assert done.returncode == 0 and f"conflict: item {a}" in done.stdout
    assert "ana approved, ben rejected" in done.stdout and "conflict 1" in done.stdout
    assert states(spec)[a] == "conflict"
    assert replace_rejected(spec.output, []) == 0
    assert "conflict 1" in in_process("review", spec.output).stdout, "without a file it counts"
    settled = review_file(tmp_path, (a, "approve", "", "", "", "2026-11-27T10:30:00Z"))
    done = in_process("review", spec.output, settled, "--reviewer", "lead", "--final")
    assert "conflict:" not in done.stdout and states(spec)[a] == "approved"


def test_who_says_the_same_after_a_final_verdict_differs_again(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    a, *_ = generate(spec)
    rejected = (a, "reject", "ana", "wrong colour", "")
    for row in ((*rejected, AT), (a, "approve", "bo", "", "", AT)):
        in_process("review", spec.output, review_file(tmp_path, row))
    in_process("review", spec.output, review_file(tmp_path, (a, "approve", "lead", "", "", AT)), "--final")
    assert states(spec)[a] == "approved"
    for later in ("2026-11-27T11:00:00Z", ""):
        again = json.loads(
            in_process("review", spec.output, review_file(tmp_path, (*rejected, later)), "--json").stdout
        )
        assert again["recorded"] == (1 if later else 0), "without a time it says what ana said last"
        assert states(spec)[a] == "conflict"


def test_files_in_another_order_than_their_verdicts(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    a, b, *_ = generate(spec)

    def at(hour: int, item: str, verdict: str) -> None:
        row = (item, verdict, "ana", "", "", f"2026-11-27T{hour}:00:00Z")
        assert in_process("review", spec.output, review_file(tmp_path, row)).returncode == 0

    at(17, a, "undo")
    at(13, a, "approve")
    assert states(spec)[a] == "pending", "the undo is the newest"
    at(13, b, "approve")
    at(15, b, "approve")
    at(14, b, "reject")
    assert states(spec)[b] == "approved"


@pytest.mark.parametrize(
    "words", [("reject", "approve"), ("approve", "reject"), ("approve", "reject", "approve")]
)
def test_of_rows_without_a_time_the_last_counts_however_often_they_are_recorded(
    words: tuple[str, ...], make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec()
    a, b, *_ = generate(spec)
    rows = [(item, word, name) for word in words for item in (a, b) for name in ("ana", "bo")]
    file = review_file(tmp_path, *rows)
    for recorded in (4, 0, 0):
        result = record(spec.output, read_verdicts(file))
        assert (result.recorded, result.repeated) == (recorded, len(rows) - recorded)
        states_ = {one.state for one in Reviews(spec.output).standings().values()}
        assert states_ == {"approved" if words[-1] == "approve" else "rejected"}


def test_every_row_is_recorded_or_reported(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    a, b, c, d = generate(spec)
    file = review_file(
        tmp_path, (a, "approve"), (b, "maybe", "ana"), ("../../etc", "approve", "ana"),
        ("f" * 64, "approve", "ana"), (c, "approve", "ana", "", "x" * 3000),
        (d, "approve", "ana", "", "", "2999-01-01"), (d, " Rejected ", "ana", "", "'=1+1", "yesterday"),
    )  # fmt: skip
    done = in_process("review", spec.output, file, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["recorded"]) == (3, 1)
    rows = {one["row"]: one["message"] for one in answer["problems"]}
    assert sorted(rows) == [2, 3, 4, 5, 6, 7]
    for row, words in ((2, "--reviewer"), (3, "'maybe'"), (4, "id of the manifest"), (5, "no item of this job"),
                       (6, "2000"), (7, "future")):  # fmt: skip
        assert words in rows[row]
    (standing,) = Reviews(spec.output).standings().values()
    assert (standing.state, standing.note) == ("rejected", "=1+1")
    target = tmp_path / "list.csv"
    in_process("export", spec.output, str(target), "--to", "csv")
    with target.open(newline="") as lines:
        assert "'=1+1" in [row["review_note"] for row in csv.DictReader(lines)], "quoted again on its way out"


@pytest.mark.parametrize(
    ("encoding", "separator", "begin"),
    [("utf-8-sig", ",", ""), ("utf-8", ";", "sep=;\r\n"), ("utf-16", "\t", ""), ("cp1252", ";", "")],
)
def test_what_spreadsheets_write(
    encoding: str, separator: str, begin: str, make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec()
    a, *_ = generate(spec)
    cells = [
        ["", "Item_ID", "verdict", "reviewer", "note"],
        ["0", a, "REJECT", "Zoë", 'grün, "zu" hell\nzwei'],
    ]
    quoted = (separator.join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in cells)
    path = tmp_path / "review.csv"
    path.write_bytes((begin + "\r\n".join(quoted)).encode(encoding))
    assert in_process("review", spec.output, str(path)).returncode == 0
    (standing,) = Reviews(spec.output).standings().values()
    assert (standing.note, list(standing.reviewers)) == ('grün, "zu" hell\nzwei', ["Zoë"])


def test_files_that_are_no_list_of_verdicts(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    a, b, *_ = generate(spec)
    path = tmp_path / "review.csv"
    for content, words in (
        (b"", "item_id and verdict"), (b"sku,ok\n1,yes\n", "got sku, ok"), (b"\x00\xff\xfe\x00", "item_id"),
        (b"item_id,verdict,verdict\n", "twice"),
        (f'item_id,verdict,note\n{a},approve,"open\n{b},reject,\n'.encode(), "row"),
        (b"item_id,verdict\n" + b"x,x\n" * 10_001, "at most 10,000 rows"),
    ):  # fmt: skip
        path.write_bytes(content)
        done = in_process("review", spec.output, str(path))
        assert done.returncode == 1 and words in error_of(done), content[:40]
    path.write_text(f'item_id,verdict,note\n{a},approve,"open\n{b},reject,"\n')
    done = in_process("review", spec.output, str(path))
    assert done.returncode == 3 and "further rows in one cell" in done.stdout
    assert Reviews(spec.output).version() == ""
    path.write_text(f"item_id,verdict\n{'a' * 200_000},approve\n{a},approve\n")
    done = in_process("review", spec.output, str(path), "--reviewer", "ana", "--json")
    assert done.returncode == 3 and json.loads(done.stdout)["recorded"] == 1, "a long cell costs its row"
    assert "check the path" in error_of(in_process("review", spec.output, str(tmp_path / "absent.csv")))


def test_a_file_of_very_many_columns_is_refused_at_its_header(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    path.write_text(f"item_id,verdict,{','.join(f'c{number}' for number in range(99_998))}\n")
    with pytest.raises(DreamCacheError, match="at most 1,000 columns, has 100,000") as caught:
        list(read_verdicts(str(path)))
    assert caught.value.code == "bad_review"


def test_the_manifest_is_not_read_for_a_file_without_verdicts(make_spec: MakeSpec, tmp_path: Path) -> None:
    """A file that cannot be read is reported as that, also where there is no manifest yet."""
    spec, path = make_spec(), tmp_path / "review.csv"
    path.write_bytes(b"sku,ok\n1,yes\n")
    assert "item_id and verdict" in error_of(in_process("review", spec.output, str(path)))
    path.write_text("item_id,verdict\nx,maybe\n")
    [problem] = record(spec.output, read_verdicts(str(path)), reviewer="ana").problems
    assert problem.row == 2 and items_of(spec.output, ()) == {}
    with pytest.raises(StorageError, match=r"manifest"):
        items_of(spec.output, ["a" * 64])


def test_readers_see_verdicts_that_came_after_the_manifest(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    a, *_ = generate(spec)
    assert set(states(spec).values()) == {"pending"}
    in_process("review", spec.output, review_file(tmp_path, (a, "reject", "ana", "artifacts", "note", AT)))
    manifest = Manifest(spec.output)
    assert not manifest.is_live
    (row,) = [row for batch in manifest.batches(2) for row in batch.to_pylist() if row["item_id"] == a]
    assert (row["review"], row["reviewer"], row["review_reason"], row["review_note"]) == (
        "rejected", "ana", "artifacts", "note",
    )  # fmt: skip
    assert row["reviewed_at"].isoformat() == "2026-11-27T10:00:00+00:00"
    assert first_outputs(spec.output, 1)[0].to_pylist()[0]["review"] == "rejected"
    for batch in scan_outputs(spec.output, columns=["review"], subject="a"):
        assert batch.schema.names == ["review"] and batch.to_pylist()[0] == {"review": "rejected"}
    generate(spec)
    written = pq.read_table(Path(spec.output, "manifest.parquet"))["review"].to_pylist()
    assert written == ["rejected", "pending", "pending", "pending"], "the next run writes them down"
