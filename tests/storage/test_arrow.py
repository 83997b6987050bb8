"""The same places through pyarrow.dataset and s3fs, as Ray Data and readers of the outputs use them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from dreamcache.core.errors import StorageError
from dreamcache.core.records import Failed
from dreamcache.storage.arrow import folder_names, pyarrow_filesystem, s3fs_options
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.open_store import join, store_for
from tests.s3_server import SECRET_KEY, S3Server


def test_dataset_reads_what_the_store_wrote(place: str) -> None:
    ledger = Ledger(place)
    filesystem, path = pyarrow_filesystem(join(place, "ledger"))
    for count in (1, 3):
        for n in range(count):
            ledger.append([Failed(item_id=f"{n}", code="c", message="m")])
        table = ds.dataset(path, filesystem=filesystem, format="parquet").to_table()
        assert table.num_rows == count, "parts written since are seen"


def test_store_reads_what_arrow_wrote(place: str) -> None:
    filesystem, path = pyarrow_filesystem(join(place, "table.parquet"))
    if "://" not in place:
        Path(place).mkdir()
    pq.write_table(pa.table({"x": [1, 2]}), path, filesystem=pickle.loads(pickle.dumps(filesystem)))
    data = store_for(place).read(join(place, "table.parquet"))
    assert pq.read_table(pa.BufferReader(data))["x"].to_pylist() == [1, 2]


def test_folders_right_below(place: str) -> None:
    store = store_for(place)
    for name in ("b/deep/er/1", "a/1", "file"):
        store.write(join(place, name), b"x")
    assert sorted(folder_names(place) or []) == ["a", "b"]
    assert folder_names(join(place, "absent")) is None


def test_no_credentials_travel(s3: S3Server, bucket: str) -> None:
    filesystem, _ = pyarrow_filesystem(bucket)
    assert SECRET_KEY.encode() not in pickle.dumps(filesystem)
    assert s3fs_options()["endpoint_url"] == s3.endpoint


def test_s3fs_lists_the_bucket(s3: S3Server, bucket: str) -> None:
    import s3fs

    store_for(bucket).write(join(bucket, "a/b"), b"x")
    found = s3fs.S3FileSystem(**s3fs_options()).find(bucket.removeprefix("s3://"))
    assert found == [join(bucket, "a/b").removeprefix("s3://")]


def test_local_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert pyarrow_filesystem("x/y")[1] == str(tmp_path / "x" / "y")
    assert pyarrow_filesystem((tmp_path / "a b").as_uri())[1] == str(tmp_path / "a b")
    with pytest.raises(StorageError):
        pyarrow_filesystem("az://b")


def test_bad_profile_is_reported(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError) as caught:
        pyarrow_filesystem("s3://b/k")
    assert caught.value.code == "no_credentials"
