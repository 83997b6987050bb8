"""Parquet catalogs as Spark, Ray, pandas and Hugging Face write them, and damaged ones."""

from __future__ import annotations

import datetime
import decimal
import gzip
import random

import pyarrow as pa

from tests.corpus.catalog_files import (
    HEADER,
    good,
    kind_of,
    parquet,
    parquet_bytes,
    parts,
    plain,
    rows_of,
    table,
)
from tests.corpus.kind import USED, Write

PARQUET = {
    "large strings": parquet(table(title=pa.array(["x", "y"], pa.large_string()))),
    "string views": parquet(table(title=pa.array(["x", "y"], pa.string_view()))),
    "dictionaries": parquet(table(title=pa.array(["x", "x"]).dictionary_encode())),
    "binary texts, as Spark writes them": parquet(
        pa.table({"subject_id": [b"good-1", b"good-2"], "image": [b"good-1.jpg", b"good-2.jpg"]})
    ),
    "lists and structs": parquet(table(tags=[["red", "blue"], None], size=[{"w": 1}, {"w": None}])),
    "maps": parquet(table(m=pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())))),
    "dates, times and decimals": parquet(
        table(
            day=[datetime.date(2026, 1, 31), None],
            at=pa.array([0, 2**62], pa.timestamp("ns")),
            price=[decimal.Decimal("1.50"), None],
            took=pa.array([1, 2**62], pa.duration("ns")),
        )
    ),
    "a date after the year 9999": parquet(table(day=pa.array([2**31 - 1, 0], pa.date32()))),
    "an unknown time zone": parquet(table(at=pa.array([0, 1], pa.timestamp("us", tz="Mars/Olympus")))),
    "NaN and null": parquet(table(price=[float("nan"), None], note=pa.nulls(2))),
    "zstd in many row groups": parquet(table(title=["x"] * 50), row_group_size=3, compression="zstd"),
    "version 2 pages": parquet(table(title=["x"] * 50), data_page_version="2.0", compression="gzip"),
    "delta encodings": parquet(
        table(title=[f"title {n}" for n in range(50)]),
        use_dictionary=False,
        column_encoding={"title": "DELTA_BYTE_ARRAY"},
    ),
    "images of Hugging Face": parquet(
        pa.table(
            {
                "subject_id": ["good-1", "good-2"],
                "image": [
                    {"bytes": b"\x89PNG" * 20_000, "path": "good-1.jpg"},
                    {"bytes": None, "path": "good-2.jpg"},
                ],
            }
        )
    ),
    "a blank row": parquet(pa.table({"subject_id": ["good-1", None], "image": ["good-1.jpg", None]})),
    "no row": parquet(table().slice(0, 0)),
    "an index of pandas": parquet(table(__index_level_0__=[7, 8])),
}
SPARK = {
    "parts and _SUCCESS": parts(
        "c.parquet", {"part-0.parquet": rows_of(0), "part-1.parquet": rows_of(2), "_SUCCESS": b""}
    ),
    "_metadata and checksums": parts(
        "c.parquet",
        {
            "part-0.parquet": rows_of(0),
            "_metadata": b"x",
            ".part-0.parquet.crc": b"x",
            "_common_metadata": b"x",
        },
    ),
    "hidden parts of a writer at work": parts(
        "c.parquet", {"a.parquet": rows_of(0), "_temporary/0/b.parquet": b"x", ".b.parquet": b"x"}
    ),
    "a folder without an ending": parts(
        "catalog", {"0_000000.parquet": rows_of(0), "1_000000.parquet": rows_of(2)}
    ),
    "partitioned": parts(
        "c.parquet", {"color=red/a.parquet": rows_of(0), "color=blue/b.parquet": rows_of(2)}
    ),
    "other files beside": parts("c.parquet", {"a.parquet": rows_of(0), "README.md": b"x", "b.json": b"{}"}),
    "columns in another order": parts(
        "c.parquet", {"a.parquet": rows_of(0), "b.parquet": rows_of(2).select(["image", "subject_id"])}
    ),
    "parts of CSV": parts(
        "c.csv", {"part-0.csv": (HEADER + good(1)).encode(), "part-1.csv": (HEADER + good(2)).encode()}
    ),
    "snappy in its name": parts("out", {"part-00000-ab.c000.snappy.parquet": rows_of(0), "_SUCCESS": b""}),
}
WHOLE = parquet_bytes(
    table(title=["some text"] * 60, price=[1.5] * 60), row_group_size=20, compression="snappy"
)


def flipped(seed: int, data: bytes = WHOLE, count: int = 3) -> bytes:
    chance = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(count):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


DAMAGED_PARQUET: dict[str, Write] = {
    **{
        f"cut at {share} %": plain(WHOLE[: len(WHOLE) * share // 100], "c.parquet")
        for share in (0, 1, 10, 50, 90, 99)
    },
    "four bytes": plain(b"PAR1", "c.parquet"),
    "two magic words": plain(b"PAR1PAR1", "c.parquet"),
    "a footer of 4 GB": plain(WHOLE[:-8] + b"\xff\xff\xff\xff" + b"PAR1", "c.parquet"),
    "no Parquet": plain("subject_id,image\na,b\n", "c.parquet"),
    "a CSV compressed": plain(gzip.compress(b"x"), "c.parquet"),
    "zeros": plain(bytes(1000), "c.parquet"),
    "encrypted": plain(WHOLE[:-4] + b"PARE", "c.parquet"),
    "a part that is damaged": parts("c.parquet", {"a.parquet": rows_of(0), "b.parquet": b"PAR1 no"}),
}
KINDS = [
    kind_of("Parquet of all types", USED, PARQUET),
    kind_of("folders of parts", USED, SPARK),
    kind_of("damaged Parquet", "bad_catalog", DAMAGED_PARQUET),
]
