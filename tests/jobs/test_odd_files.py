"""Pipes in the place of files, and folders that cannot be listed: each is named, and costs itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamcache.core.errors import CatalogError, DreamCacheError, StorageError
from dreamcache.core.records import Subject
from jobs.output.reader import outputs
from jobs.planning.catalog import BadRow, read_catalog


@pytest.mark.parametrize("name", ["feed", "feed.csv", "feed.csv.gz", "feed.parquet", "feed.xlsx"])
def test_a_pipe_as_a_catalog(tmp_path: Path, name: str) -> None:
    """`<(command)` of a shell has a name without an ending."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(CatalogError, match="must be a regular file, got a device, pipe or socket"):
        list(read_catalog(str(tmp_path / name)))


@pytest.mark.parametrize("key", ["manifest.parquet", "manifest/part-00000.parquet"])
def test_a_pipe_as_a_manifest(tmp_path: Path, key: str) -> None:
    path = tmp_path / key
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(DreamCacheError, match="must be a regular file") as raised:
        outputs(str(tmp_path))
    assert raised.value.code == "not_a_file" and key in str(raised.value)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders named closed-* cannot be listed, also by root."""
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if os.path.basename(path).startswith("closed-"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


@pytest.mark.usefixtures("closed")
def test_a_folder_that_cannot_be_listed_costs_its_product(tmp_path: Path) -> None:
    for name in ("b", "closed-1", "deep"):
        (tmp_path / name).mkdir()
    (tmp_path / "deep" / "closed-2").mkdir()
    for name in ("a.png", "b/1.png", "closed-1/1.png", "deep/1.png"):
        (tmp_path / name).write_bytes(b"x")
    entries = list(read_catalog(str(tmp_path)))
    bad = [one for one in entries if isinstance(one, BadRow)]
    assert [one.subject_id for one in entries if isinstance(one, Subject)] == ["a", "b", "deep"]
    assert [(one.subject_id, one.code) for one in bad] == [
        ("closed-1", "access_denied"),
        ("deep", "access_denied"),
    ]
    assert "closed-1: cannot list" in bad[0].message and "deep/closed-2" in bad[1].message


@pytest.mark.usefixtures("closed")
def test_a_table_of_which_a_folder_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    """Nobody knows which rows are missing."""
    for name in ("color=red", "closed-color=blue"):
        (tmp_path / "c" / name).mkdir(parents=True)
        table = pa.table({"subject_id": [name], "image": ["a.png"]})
        pq.write_table(table, tmp_path / "c" / name / "part-0.parquet")
    for path in (tmp_path / "c", tmp_path / "c" / "closed-color=blue"):
        with pytest.raises(StorageError) as raised:
            list(read_catalog(str(path)))
        assert raised.value.code == "access_denied"
