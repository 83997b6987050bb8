"""Damaged output folders: what a full disk, a copy that was cut, an editor or a hostile hand leaves of our files.

Each input damages one file of a good output in place. Some verb ends with the kind's code; none ends raw.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.corpus.kind import Kind, Write

DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


def at(pattern: str, damage: Callable[[bytes], bytes]) -> Write:
    """Rewrites the first file that the pattern names."""

    def write(folder: Path) -> str:
        [path, *_] = sorted(folder.glob(pattern))
        path.write_bytes(damage(path.read_bytes()))
        return str(path)

    return write


def to(pattern: str, data: bytes) -> Write:
    return at(pattern, lambda _: data)


def folder_at(pattern: str) -> Write:
    """A folder stands where the file was."""

    def write(folder: Path) -> str:
        [path, *_] = sorted(folder.glob(pattern))
        path.unlink()
        path.mkdir()
        return str(path)

    return write


def bytes_of(pattern: str) -> dict[str, Write]:
    """Damages that fit any file of ours."""

    def flip(seed: int) -> Callable[[bytes], bytes]:
        def damage(data: bytes) -> bytes:
            chance, changed = random.Random(seed), bytearray(data)
            for _ in range(8):
                changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            return bytes(changed)

        return damage

    return {
        "empty": to(pattern, b""),
        "half": at(pattern, lambda data: data[: len(data) // 2]),
        "zeros": at(pattern, lambda data: bytes(len(data))),
        "random bytes": at(pattern, lambda data: random.Random(1).randbytes(len(data))),
        "a PNG": to(pattern, b"\x89PNG\r\n\x1a\n" + bytes(50)),
        "bits": at(pattern, flip(3)),
    }


def json_of(pattern: str, **changes: Any) -> dict[str, Write]:
    """Damages that fit a JSON file; changes: a value of a wrong type for each of these keys."""

    def changed(key: str, value: Any) -> Callable[[bytes], bytes]:
        return lambda data: json.dumps({**json.loads(data), key: value}).encode()

    plain = bytes_of(pattern)
    del plain["bits"]  # a flipped bit of JSON may well be another good file
    return {
        **plain,
        "nested without end": to(pattern, DEEP),
        "nested 300 deep": at(pattern, changed("counts", json.loads(b"[" * 300 + b"]" * 300))),
        "lists without end": to(pattern, b"[" * 100_000),
        "a list": to(pattern, b"[1, 2]"),
        "a text": to(pattern, b'"text"'),
        "null": to(pattern, b"null"),
        "a number of 5,000 digits": to(pattern, b'{"format": ' + b"9" * 5000 + b"}"),
        "UTF-16": at(pattern, lambda data: data.decode().encode("utf-16")[:-1]),
        **{
            f"{key}: {json.dumps(value)[:30]}": at(pattern, changed(key, value))
            for key, value in changes.items()
        },
    }


def parquet_of(pattern: str) -> dict[str, Write]:
    def table(change: Callable[[pa.Table], pa.Table]) -> Callable[[bytes], bytes]:
        def damage(data: bytes) -> bytes:
            sink = pa.BufferOutputStream()
            pq.write_table(change(pq.read_table(pa.BufferReader(data))), sink)
            return bytes(sink.getvalue())

        return damage

    return {
        **bytes_of(pattern),
        "the magic words": to(pattern, b"PAR1PAR1"),
        "no columns": at(pattern, table(lambda rows: rows.select([]))),
        "another table": at(pattern, table(lambda rows: pa.table({"x": [1]}))),
        "no item_id": at(pattern, table(lambda rows: rows.drop_columns(["item_id"]))),
        "numbers as ids": at(
            pattern, table(lambda rows: _as(rows, "item_id", pa.array([7] * rows.num_rows)))
        ),
        "lists as ids": at(
            pattern, table(lambda rows: _as(rows, "item_id", pa.array([["a"]] * rows.num_rows)))
        ),
        "a column twice": at(pattern, table(lambda rows: rows.append_column("item_id", rows["item_id"]))),
        "texts in another encoding": at(pattern, table(_latin)),
        "times after the year 9999": at(pattern, table(_late)),
    }


def _latin(rows: pa.Table) -> pa.Table:
    name = next(name for name in ("prompt", "subject_id", "item_id") if name in rows.column_names)
    return _as(rows, name, pa.array([b"caf\xe9"] * rows.num_rows, pa.binary()).view(pa.string()))


def _late(rows: pa.Table) -> pa.Table:
    times = pa.array([2**62] * rows.num_rows, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    if "recorded_at" in rows.column_names:
        return _as(rows, "recorded_at", times)
    return _as(rows, "item_id", times)  # a plan holds no time


def _as(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, values)


STATUS = json_of(
    "status.json",
    counts={"done": "many"},
    total="1",
    format="2",
    rate="NaN",
    eta_s=-1,
    notes=[1],
    name=None,
    state="lost",
    started_at="yesterday",
    updated_at=5,
    details={"spent": {"hours": "x"}},
    kind="party",
) | {
    "negative counts": at(
        "status.json", lambda d: json.dumps({**json.loads(d), "counts": {"done": -5}}).encode()
    ),
    "a rate of NaN": at(
        "status.json", lambda d: json.dumps({**json.loads(d), "rate": float("nan")}).encode()
    ),
    "costs of NaN": at(
        "status.json",
        lambda d: json.dumps({**json.loads(d), "details": {"spent": {"hours": float("nan")}}}).encode(),
    ),
    "times of two kinds": at(
        "status.json", lambda d: json.dumps({**json.loads(d), "started_at": "2026-01-01"}).encode()
    ),
}
SUMMARY = json_of(
    "manifest.json", counts={"done": "many"}, base=[], adapter={"fingerprint": 5}, subjects="all"
) | {
    "no counts": to("manifest.json", b'{"job": "x"}'),
    "no job": at("manifest.json", lambda d: json.dumps({"counts": json.loads(d)["counts"]}).encode()),
    "counts are a list": at("manifest.json", lambda d: json.dumps({**json.loads(d), "counts": [1]}).encode()),
}


def _below_mark(text: bytes) -> Write:
    """job.yaml with our mark and another content."""
    return at("job.yaml", lambda data: data.split(b"\n")[0] + b"\n" + text)


NOT_OURS = {name: write for name, write in bytes_of("job.yaml").items() if name not in ("bits", "half")} | {
    "another's": to("job.yaml", b"name: mine\n"),
    "a name that is a list": _below_mark(b"name: [1]\n"),
    "a number": _below_mark(b"5\n"),
    "nothing below our mark": _below_mark(b""),
    "another job's": _below_mark(b"name: other\n"),
}
NO_YAML = {
    "half": at("job.yaml", lambda data: data[: data.index(b"limits:") + 20] + b": ["),
    "a list": _below_mark(b"- a\nb: c\n"),
    "nested": _below_mark(b"[" * 10_000),
    "aliases": _below_mark(b"a: &a [*a]\nname: job\n"),
    "a tag": _below_mark(b"name: !!python/name:os.system\n"),
    "a name twice": _below_mark(b"name: job\nname: job\n"),
    "Latin-1": _below_mark(b"name: j\xe9\n"),
    "a tab": _below_mark(b"a:\n\tb: c\n"),
    "NUL": _below_mark(b"name: a\0b\n"),
    "a number of 5,000 digits": _below_mark(b"name: " + b"9" * 5000 + b"\n"),
}


def _kind(name: str, code: str, inputs: dict[str, Write]) -> Kind:
    return Kind(name=f"output/{name}", door="output", code=code, inputs=inputs, exit_code=1, s3=False)


KINDS = [
    _kind("status.json", "bad_status", STATUS),
    _kind("manifest.json", "bad_manifest", SUMMARY),
    _kind("manifest.parquet", "bad_manifest", parquet_of("manifest.parquet")),
    _kind(
        "a part of the plan",
        "bad_part",
        {n: w for n, w in parquet_of("plan/part-*.parquet").items() if n != "numbers as ids"},
    ),
    _kind("a part of the ledger", "bad_ledger", parquet_of("ledger/part-*.parquet")),
    _kind("job.yaml that is not ours", "other_job", NOT_OURS),
    _kind("job.yaml that is no YAML", "bad_spec", NO_YAML),
    _kind(
        "a folder for a file",
        "bad_uri",
        {
            name: folder_at(name)
            for name in (
                "job.yaml",
                "status.json",
                "manifest.parquet",
                "failed.csv",
                "plan/part-00000.parquet",
            )
        },
    ),
]
