"""A job with its catalog, photos, cache and output on the S3 server, and what boto3 says of its objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.command import write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.s3_server import S3Server

PROMPTS = ["a {class_name} on sand", "a {class_name} in snow", "a {class_name} on a table"]
BATCH_SIZE = 2


@dataclass(frozen=True, kw_only=True)
class S3Job:
    """`folder` is the job's place on the server, s3://bucket/prefix."""

    path: str
    folder: str
    client: Any

    @property
    def output(self) -> str:
        return f"{self.folder}/output"

    def objects(self, below: str = "") -> dict[str, tuple[str, Any, int]]:
        """(ETag, LastModified, size) by key relative to the output."""
        bucket, prefix = _split(f"{self.output}/{below}")
        start = len(_split(f"{self.output}/")[1])
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {
            found["Key"][start:]: (found["ETag"], found["LastModified"], found["Size"])
            for page in pages
            for found in page.get("Contents", [])
        }

    def read(self, key: str) -> bytes:
        bucket, path = _split(f"{self.output}/{key}")
        return bytes(self.client.get_object(Bucket=bucket, Key=path)["Body"].read())

    def manifest(self) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.read("manifest.parquet")))


def make_s3_job(
    server: S3Server, local: Path, folder: str, model: dict[str, str], *, subjects: int, **changes: Any
) -> S3Job:
    """Uploads catalog and photos to `folder`, and writes the job file, which is local."""
    rows = write_photos(local, subjects)
    return upload_job(server, local, folder, rows, model=model, **changes)


def upload_job(
    server: S3Server, local: Path, folder: str, rows: list[dict[str, str]], **changes: Any
) -> S3Job:
    """Uploads a catalog of `rows`, whose photos lie in `local`; cache and output go to `folder` too."""
    catalog = write_catalog(local, rows)
    bucket, prefix = _split(folder)
    for path in [Path(catalog), *(local / row["image"] for row in rows)]:
        server.client().put_object(Bucket=bucket, Key=f"{prefix}/{path.name}", Body=path.read_bytes())
    values = {
        "catalog": f"{folder}/catalog.csv",
        "output": f"{folder}/output",
        "cache": f"{folder}/cache",
        "prompts": PROMPTS,
        "workers": {"batch_size": BATCH_SIZE},
    }
    job = write_job(local, **{**values, **changes})
    return S3Job(path=job, folder=folder, client=server.client())


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
