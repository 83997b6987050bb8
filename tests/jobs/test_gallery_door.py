"""The gallery opens only photos that a job could read, after the manifest; what is wrong with it costs it alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.storage.roots import Roots, roots_of
from jobs.gallery import thumbnail_keys
from jobs.output import folder as folder_module
from jobs.output.folder import OutputFolder
from jobs.output.publish_gallery import publish_gallery
from jobs.output.publish_manifest import publish_manifest
from jobs.planning.planner import plan
from tests.corpus.pictures import good, photo, png

MakeSpec = Callable[..., JobSpec]

COLUMNS = ("item_id", "subject_id", "class_name", "prompt", "status", "key", "image", "code", "message")


def table(photos: dict[str, str], status: str = "done") -> pa.Table:
    rows = []
    for number, (subject, uri) in enumerate(photos.items()):
        cells = (f"{number:064x}", subject, "mug", "a mug", status, f"images/{number}.png", uri, None, None)
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return pa.Table.from_pylist(rows)


def thumbnails(folder: Path) -> int:
    return len(list((folder / "gallery" / "references").glob("*")))


def output_of(folder: Path, catalog: Path) -> OutputFolder:
    """An output whose job may read photos beside its catalog."""
    folder.mkdir()
    (folder / "job.yaml").write_text(f"catalog: {catalog}\n")
    return OutputFolder(str(folder))


def test_what_is_no_photo_costs_its_thumbnail(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    photo().save(photos / "good.png")
    os.mkfifo(photos / "pipe")
    with open(photos / "sparse", "wb") as file:
        file.truncate(6 << 30)
    (photos / "huge").write_bytes(png(20_000, 20_000, rows=False))
    (photos / "text").write_bytes(b"text")
    (photos / "folder").mkdir()
    (photos / "link").symlink_to("/dev/zero")
    names = [
        "/dev/full",
        "/dev/zero",
        "/dev/random",
        "/proc/self/maps",
        *(str(path) for path in photos.iterdir()),
    ]
    names += [
        "https://shop.example/a.png",
        str(photos / "absent"),
        "a\0b",
        "\ud800".encode("utf-8", "ignore").decode(),
    ]
    began = time.monotonic()
    output = output_of(tmp_path / "out", photos / "catalog.csv")
    publish_gallery(None, table({f"s{n}": name for n, name in enumerate(names)}), output)
    assert time.monotonic() - began < 5
    assert thumbnails(tmp_path / "out") == 1


def test_of_an_output_alone_photos_elsewhere_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write into the output names any file in it; the reader's own job file allows what it names."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(good("PNG"))
    rows = table({"s": str(photos / "a.png")})
    out = output_of(tmp_path / "out", photos / "catalog.csv")
    with monkeypatch.context() as patch:
        patch.setattr(folder_module.os, "geteuid", lambda: 12345)
        other = os.stat(tmp_path / "out" / "job.yaml").st_uid
        if other == 0:  # root's files are trusted
            os.chown(tmp_path / "out" / "job.yaml", 23456, -1)
        publish_gallery(None, rows, out)
        assert thumbnails(tmp_path / "out") == 0
        publish_gallery(None, rows, out, roots=roots_of(str(photos / "catalog.csv")))
        assert thumbnails(tmp_path / "out") == 1
        # The page that is written again without the job file shows what the earlier one showed.
        (photos / "a.png").unlink()
        publish_gallery(None, rows, out)
        assert thumbnails(tmp_path / "out") == 1
        assert "references/" in (tmp_path / "out" / "gallery" / "data.js").read_text()


def test_a_thumbnail_that_leads_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    private = tmp_path / "private.png"
    private.write_bytes(good("PNG"))
    out = output_of(tmp_path / "out", tmp_path / "elsewhere" / "catalog.csv")
    link = tmp_path / "out" / thumbnail_keys("s")[0]
    link.parent.mkdir(parents=True)
    link.symlink_to(private)
    publish_gallery(None, table({"s": str(private)}), out)
    assert link.is_symlink() and "references/" not in (tmp_path / "out/gallery/data.js").read_text()


def test_roots_that_are_none(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out", tmp_path / "catalog.csv")
    for roots in ("5", "[s3://]", "{a: b}"):
        (tmp_path / "out" / "job.yaml").write_text(f"catalog: c.csv\ncatalog_roots: {roots}\n")
        assert output.photo_roots() == Roots()


def test_photos_of_which_every_item_failed_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(good("PNG"))
    for status, number in (("failed", 0), ("done", 1), ("blocked", 1), ("pending", 1)):
        out = tmp_path / status
        output = output_of(out, tmp_path / "catalog.csv")
        publish_gallery(None, table({"s": str(tmp_path / "a.png")}, status), output)
        assert thumbnails(out) == number, status


def test_a_gallery_that_fails_costs_a_note_and_the_manifest_is_there(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    made, folder, notes = plan(spec), OutputFolder(spec.output), list[str]()
    written: list[bool] = []

    def broken(*arguments: Any, **options: Any) -> str:
        written.append(folder.manifest_version() is not None)
        raise MemoryError("no room for a page")

    monkeypatch.setattr("jobs.output.publish_manifest.publish_gallery", broken)
    counts, page = publish_manifest(made, folder, gallery=True, on_note=notes.append)
    assert written == [True]
    assert page is None and counts.total == made.num_items
    assert len(notes) == 1 and "no room for a page" in notes[0] and "dreamcache gallery" in notes[0]
    assert pq.read_table(f"{spec.output}/manifest.parquet").num_rows == made.num_items
