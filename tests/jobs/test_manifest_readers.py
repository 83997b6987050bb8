"""The manifest opened by the libraries that analysts use, from a folder and from S3, with types and joins by SKU."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.storage.arrow import pyarrow_filesystem, s3fs_options
from jobs.output.reader import outputs
from tests.jobs.test_manifest_table import begin, done, jsonl, publish

pytestmark = [pytest.mark.slow, pytest.mark.turns(unit="module")]

ROWS = [
    {"subject_id": "0012", "image": "a.png", "price": 10.5, "sizes": ["S", "M"], "stock": 3},
    {"subject_id": "b", "image": "b.png", "price": 12, "sizes": ["L"], "stock": None},
]
STOCK = {"subject_id": ["0012", "b"], "in_shop": [7, 9]}
EXPECTED = [("0012", 10.5, ["S", "M"], 3, 7), ("b", 12.0, ["L"], None, 9)]
"""Of each subject's first item: subject, attr_price, attr_sizes, attr_stock, in_shop of the joined table."""

Row = dict[str, Any]


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, make_spec: Callable[..., JobSpec], tmp_path: Path) -> str:
    """A published output; its manifest has one item done."""
    place = str(request.getfixturevalue("bucket")) if request.param == "s3" else str(tmp_path)
    spec = replace(make_spec(), catalog=jsonl(tmp_path, ROWS), output=f"{place}/output")
    made, ids, ledger = begin(spec)
    ledger.append([done(ids[0])])
    publish(spec, made)
    return spec.output


def with_pandas(uri: str) -> list[Row]:
    import pandas as pd

    options = s3fs_options() if uri.startswith("s3://") else None
    table = pd.read_parquet(uri, storage_options=options)
    return table.merge(pd.DataFrame(STOCK), on="subject_id").to_dict("records")  # type: ignore[return-value]


def with_polars(uri: str) -> list[Row]:
    pl = pytest.importorskip("polars")
    options = None
    if uri.startswith("s3://"):
        options = {
            "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
    lazy = pl.scan_parquet(uri, storage_options=options)
    rows: list[Row] = (
        lazy.join(pl.LazyFrame(STOCK), on="subject_id", maintain_order="left").collect().to_dicts()
    )
    return rows


def with_duckdb(uri: str) -> list[Row]:
    duckdb = pytest.importorskip("duckdb")
    stock = pa.table(STOCK)
    with duckdb.connect() as connection:
        if uri.startswith("s3://"):  # its own extension for S3 would be downloaded
            import s3fs

            connection.register_filesystem(s3fs.S3FileSystem(**s3fs_options()))
        connection.register("stock", stock)
        query = (
            f"select * from read_parquet('{uri}') join stock using (subject_id) order by subject_id, prompt"
        )
        rows: list[Row] = connection.sql(query).to_arrow_table().to_pylist()
        return rows


def with_datasets(uri: str) -> list[Row]:
    datasets = pytest.importorskip("datasets")
    options = s3fs_options() if uri.startswith("s3://") else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_HUB_OFFLINE", False)  # which would refuse S3, too
        loaded = datasets.load_dataset("parquet", data_files=uri, split="train", storage_options=options)
    in_shop = dict(zip(*STOCK.values(), strict=True))
    return [{**row, "in_shop": in_shop[row["subject_id"]]} for row in loaded]


def with_ray_data(uri: str) -> list[Row]:
    import ray

    filesystem, path = pyarrow_filesystem(uri)
    ray.init(num_cpus=1, include_dashboard=False, ignore_reinit_error=True, logging_level="ERROR")
    in_shop = dict(zip(*STOCK.values(), strict=True))
    try:
        rows = ray.data.read_parquet(path, filesystem=filesystem).take_all()
    finally:
        ray.shutdown()  # its workers have this test's AWS settings
    return [{**row, "in_shop": in_shop[row["subject_id"]]} for row in rows]


@pytest.mark.parametrize("read", [with_pandas, with_polars, with_duckdb, with_datasets, with_ray_data])
def test_types_and_joins(
    output: str, read: Callable[[str], list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    rows = sorted(read(f"{output}/manifest.parquet"), key=lambda row: (row["subject_id"], row["prompt"]))
    assert len(rows) == 4
    read_values = [
        (
            row["subject_id"],
            row["attr_price"],
            list(row["attr_sizes"]),
            None
            if row["attr_stock"] is None or row["attr_stock"] != row["attr_stock"]
            else row["attr_stock"],
            row["in_shop"],
        )
        for row in rows[::2]
    ]
    assert read_values == EXPECTED
    assert all(row["seed_text"] == str(row["seed"]) for row in rows)
    assert {row["status"] for row in rows} == {"done", "pending"}
    assert {row["settings_fingerprint"] for row in outputs(output).to_pylist()} == {None}
