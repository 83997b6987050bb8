"""Exports: files under the user's names, in forms that their readers load, complete, resumable, local and in S3."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamcache.core import ids
from dreamcache.core.config import ImageFormat
from dreamcache.core.errors import SpecError, StorageError
from dreamcache.storage.image_store import ImageStore, encode_image
from dreamcache.storage.open_store import join, store_for
from jobs.export import export_outputs
from jobs.export.rows import Rows
from tests.command import error_of, in_process

SUBJECTS = ("mug/1", "..", "café ☕", "杯子", "=cmd")
FORMAT = ImageFormat()


def make_output(place: str, subjects: Iterable[str] = SUBJECTS, samples: int = 2) -> list[dict[str, Any]]:
    """An output folder as a run leaves it: images and manifest; the last subject's second item failed."""
    images, rows = ImageStore(place, FORMAT), []
    for number, subject in enumerate(subjects):
        for sample in range(samples):
            ident = ids.of_values("item", subject=subject, sample=sample)
            rgb = np.random.default_rng(len(rows)).integers(0, 255, (8, 8, 3)).astype(np.uint8)
            data = encode_image(rgb, FORMAT, {"item_id": ident})
            images.commit(ident, data)
            row = {
                "item_id": ident,
                "subject_id": subject,
                "prompt": f"a {subject} on sand",
                "sample": sample,
            }
            row |= {"status": "done", "key": images.key_of(ident), "num_bytes": len(data), "code": None}
            rows.append({**row, "color": "red" if number % 2 else "blue"})
    rows[-1] |= {"status": "failed", "key": None, "num_bytes": None, "code": "bad_image"}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    store_for(place).write(join(place, "manifest.parquet"), sink.getvalue().to_pybytes())
    return rows


def files_of(place: str) -> dict[str, bytes]:
    store = store_for(place)
    return {info.uri.removeprefix(place + "/"): store.read(info.uri) for info in store.list(place)}


@pytest.fixture(params=["local", "s3"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """(output, target), both local or both on the S3 server."""
    root = str(tmp_path) if request.param == "local" else str(request.getfixturevalue("bucket"))
    return f"{root}/output", f"{root}/target"


def test_a_folder_by_sku(places: tuple[str, str]) -> None:
    output, target = places
    rows = make_output(output)
    done = export_outputs(output, target, layout="{color}/{subject_id}_{sample:02d}.{ext}", quiet=True)
    files = files_of(target)
    assert (done.rows, done.written, done.kept, done.num_lost) == (9, 9, 0, 0)
    assert set(files) == {
        "blue/mug%2F1_00.png", "blue/mug%2F1_01.png", "red/%2E._00.png", "red/%2E._01.png",
        "blue/café ☕_00.png", "blue/café ☕_01.png", "red/杯子_00.png", "red/杯子_01.png", "blue/=cmd_00.png",
    }  # fmt: skip
    assert files["red/杯子_01.png"] == store_for(output).read(join(output, rows[7]["key"]))


def test_a_repeated_export_makes_only_what_is_missing(places: tuple[str, str]) -> None:
    output, target = places
    make_output(output)
    export_outputs(output, target, quiet=True)
    before = files_of(target)
    gone, short, *_ = before
    store_for(target).delete(join(target, gone))
    store_for(target).write(join(target, short), b"cut")
    done = export_outputs(output, target, quiet=True)
    assert (done.written, done.kept) == (2, 7)
    assert files_of(target) == before


def test_images_that_are_lost_cost_only_themselves(tmp_path: Path) -> None:
    output = str(tmp_path / "output")
    rows = make_output(output)
    Path(output, rows[0]["key"]).unlink()
    Path(output, rows[1]["key"]).write_bytes(b"changed")
    for form in ("folder", "hf", "webdataset"):
        done = export_outputs(output, str(tmp_path / form), form=form, quiet=True)
        assert (done.written, done.num_lost) == (7, 2)
        assert {one["item_id"] for one in done.lost} == {rows[0]["item_id"], rows[1]["item_id"]}
        assert "there is none; was it deleted?" in done.lost[0]["message"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"color": "red"}, 4),
        ({"sample": "1"}, 4),
        ({"color": "blue", "sample": "0"}, 3),
        ({"subject_id": ".."}, 2),
    ],
)
def test_filters(tmp_path: Path, where: dict[str, str], expected: int) -> None:
    output = str(tmp_path / "output")
    make_output(output)
    assert export_outputs(output, str(tmp_path / "t"), where=where, quiet=True).rows == expected


def test_shared_names_are_refused_or_numbered(tmp_path: Path) -> None:
    output, target = str(tmp_path / "output"), str(tmp_path / "target")
    rows = make_output(output, ["AB", "ab", "c"], samples=1)  # one name on Windows and macOS
    rows = rows[:2]
    with pytest.raises(
        SpecError, match="each image must have a name of its own, 1 names have more"
    ) as caught:
        export_outputs(output, target, layout="{subject_id}.{ext}", quiet=True)
    assert caught.value.code == "name_collision"
    assert not Path(target).exists()
    done = export_outputs(output, target, layout="{subject_id}.{ext}", numbered=True, quiet=True)
    assert set(files_of(target)) == {f"{row['subject_id']}~{row['item_id'][:12]}.png" for row in rows}
    assert (done.renamed, done.written) == (1, 2)


def test_csv_is_safe_to_open(places: tuple[str, str]) -> None:
    output, target = places
    make_output(output)
    assert export_outputs(output, target, form="csv").rows == 10
    assert export_outputs(output, f"{target}/failed.csv", form="csv", where={"status": "failed"}).rows == 1
    text = files_of(target)["manifest.csv"].decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["subject_id"] for row in rows[::2]] == ["mug/1", "..", "café ☕", "杯子", "'=cmd"]
    assert rows[-1]["code"] == "bad_image"
    assert len(list(csv.DictReader(io.StringIO(files_of(target)["failed.csv"].decode())))) == 1


def test_hugging_face_loads_the_image_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names with "test" in them, of which `datasets` would otherwise make a split of its own."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    output, target = str(tmp_path / "output"), str(tmp_path / "hf")
    rows = make_output(output, ["test", "validation-2", "c"])
    export_outputs(output, target, form="hf", layout="{subject_id}/{item_id}.{ext}", quiet=True)
    loaded = datasets.load_dataset(target, cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    by_item = {row["item_id"]: row for row in loaded["train"]}
    assert set(by_item) == {row["item_id"] for row in rows if row["status"] == "done"}
    for row in rows[:5]:
        found = by_item[row["item_id"]]
        assert (found["prompt"], found["sample"], found["color"]) == (
            row["prompt"],
            row["sample"],
            row["color"],
        )
        stored = store_for(output).read(join(output, row["key"]))
        assert found["image"].size == (8, 8)
        assert (Path(target) / "images" / row["subject_id"] / f"{row['item_id']}.png").read_bytes() == stored


def members_of(shards: dict[str, bytes]) -> dict[str, dict[str, bytes]]:
    """sample -> extension -> content."""
    members: dict[str, dict[str, bytes]] = {}
    for data in shards.values():
        assert len(data) <= 20_480  # the limit, rounded up to tar's records
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                key, _, extension = base.partition(".")  # WebDataset's rule: a sample ends at the first dot
                content = tar.extractfile(member)
                assert content is not None
                members.setdefault(f"{folder}/{key}", {})[extension] = content.read()
    return members


def test_webdataset_shards(places: tuple[str, str]) -> None:
    output, target = places
    rows = make_output(output, ["a.b", "d" * 150, "c"])
    layout = "{subject_id}/{sample}.{ext}"

    def export() -> Any:
        return export_outputs(
            output, target, form="webdataset", layout=layout, shard_bytes=12_000, quiet=True
        )

    done = export()
    shards = files_of(target)
    assert set(json.loads(shards.pop("shards.json"))["shards"]) == set(shards)
    assert (done.written, set(shards)) == (5, {"shard-000000.tar", "shard-000001.tar", "shard-000002.tar"})
    found = members_of(shards)
    assert set(found) == {"a%2Eb/0", "a%2Eb/1", "d" * 150 + "/0", "d" * 150 + "/1", "c/0"}
    first = found["a%2Eb/0"]
    assert set(first) == {"png", "txt", "json"}
    assert first["txt"].decode() == rows[0]["prompt"]
    assert json.loads(first["json"])["item_id"] == rows[0]["item_id"]
    assert first["png"] == store_for(output).read(join(output, rows[0]["key"]))
    store_for(target).delete(join(target, "shard-000001.tar"))
    again = export()
    assert (again.rows, again.written + again.kept) == (5, 5)
    assert 0 < again.written < 5
    files = files_of(target)
    del files["shards.json"]
    assert files == shards
    store_for(target).write(join(target, "shard-000000.tar"), bytes(len(shards["shard-000000.tar"])))
    assert export().written > 0  # the same size, another content
    assert files_of(target)["shard-000000.tar"] == shards["shard-000000.tar"]
    whole = export_outputs(output, target, form="webdataset", layout=layout, quiet=True)
    assert (whole.written, set(files_of(target))) == (5, {"shard-000000.tar", "shards.json"})


def test_rows_are_streamed(tmp_path: Path) -> None:
    """Not more than a few batches are held, however many rows there are."""
    table = pa.table({"item_id": [f"{n:064d}" for n in range(200_000)], "status": ["done"] * 200_000})
    pq.write_table(table, tmp_path / "manifest.parquet", row_group_size=200_000)
    before, most = pa.total_allocated_bytes(), 0
    for number, _ in enumerate(Rows(str(tmp_path), {"status": "done"})):
        if number % 10_000 == 0:
            most = max(most, pa.total_allocated_bytes() - before)
    assert number == 199_999
    assert most < table.nbytes / 2


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    output, target = str(tmp_path / "output"), str(tmp_path / "target")
    rows = make_output(output)
    done = in_process("export", output, target, "--where", "color=red", "--json")
    assert (done.returncode, json.loads(done.stdout)["written"]) == (0, 4), done.stderr
    listed = in_process("outputs", output, "--where", "color=red", "--where", "sample=1", "--json")
    assert [row["subject_id"] for row in json.loads(listed.stdout)] == ["..", "杯子"]
    Path(output, rows[0]["key"]).unlink()
    lossy = in_process("export", output, target)
    assert lossy.returncode == 3
    assert "4 written" in lossy.stdout and "4 were there, of 9" in lossy.stdout and "lost: " in lossy.stdout
    (tmp_path / "link").symlink_to(output)
    for args, message in (
        (["export", output, f"{tmp_path}/link/x"], "must lie outside the job's output"),
        (["outputs", output, "--where", "colour=red"], "has no such column (did you mean 'color'?)"),
        (["outputs", output, "--where", "color"], "must be COLUMN=VALUE"),
        (
            ["outputs", output, "--status", "don"],
            "--status don: must be one of done, blocked, failed, pending (did",
        ),
        (["outputs", output, "--export", target, "--to", "csv"], "use 'dreamcache export PLACE TARGET'"),
        (["export", output, target, "--to", "zip"], "--to zip: must be one of folder, csv, hf, webdataset"),
        (["export", output, target, "--layout", "{sku}.{ext}"], "unknown column {sku}"),
        (["export", output, target, "--on-collision", "rename"], "must be one of error, number"),
        (["export", output, f"{output}/images"], "must lie outside the job's output"),
    ):
        wrong = in_process(*args)
        assert (wrong.returncode, message in error_of(wrong)) == (2, True), wrong.stderr
    with pytest.raises(StorageError, match=r"has no manifest\.parquet"):
        export_outputs(str(tmp_path / "none"), target)
