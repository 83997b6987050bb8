"""Objects of a shared cache: damaged, swapped, or written by someone else under the right key.

An input gets the folder of a cache with the sound features of two references, the photos of subjects a and b encoded
alike, and changes the object of the first in place (see `objects_of`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core import ids
from dreamcache.storage.feature_file import (
    FEATURES,
    ROWS,
    RawTensor,
    StoredFeatures,
    from_parquet,
    to_parquet,
)
from dreamcache.storage.sealed_parquet import SEAL, SEAL_KEY, ZEROS
from tests.corpus.kind import Kind, Write

Change = Callable[[StoredFeatures, StoredFeatures], StoredFeatures]


def objects_of(folder: Path) -> tuple[Path, Path]:
    """The object that is changed, and the other subject's: the older one comes first."""
    first, second = sorted(folder.rglob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    return first, second


def rewritten(change: Change) -> Write:
    """Features that are sound in themselves, under the first one's name."""

    def write(folder: Path) -> Path:
        first, second = objects_of(folder)
        features = change(from_parquet(first.read_bytes()), from_parquet(second.read_bytes()))
        first.write_bytes(to_parquet(features))
        return first

    return write


def bytes_changed(change: Callable[[bytes], bytes]) -> Write:
    def write(folder: Path) -> Path:
        first, _ = objects_of(folder)
        first.write_bytes(change(first.read_bytes()))
        return first

    return write


def replaced(act: Callable[[Path, Path], object]) -> Write:
    """No file, or another kind of file, at the first one's place. act(path, the other subject's object)."""

    def write(folder: Path) -> Path:
        first, second = objects_of(folder)
        first.unlink()
        act(first, second)
        return first

    return write


def numbers(change: Callable[[np.ndarray], None], place: int = 0) -> Change:
    """The numbers of one place, float16, changed in place."""

    def apply(features: StoredFeatures, other: StoredFeatures) -> StoredFeatures:
        names = list(features.maps)
        raw = features.maps[names[place]]
        values = np.frombuffer(raw.data, np.float16).copy()
        change(values)
        return replace(features, maps={**features.maps, names[place]: replace(raw, data=values.tobytes())})

    return apply


def value_at(index: int, value: float, place: int = 0) -> Write:
    def change(values: np.ndarray) -> None:
        values[index] = value

    return rewritten(numbers(change, place))


def all_values(value: float, place: int = 0) -> Write:
    return rewritten(numbers(lambda values: values.fill(value), place))


def maps(change: Callable[[dict[str, RawTensor]], dict[str, RawTensor]]) -> Write:
    return rewritten(lambda features, other: replace(features, maps=change(dict(features.maps))))


def shaped(change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Write:
    """The first place with another shape, and as many numbers as that needs."""

    def apply(by_place: dict[str, RawTensor]) -> dict[str, RawTensor]:
        name, raw = next(iter(by_place.items()))
        shape = change(raw.shape)
        size = int(np.prod(shape)) * 2
        return {
            **by_place,
            name: RawTensor(
                data=(raw.data * (size // len(raw.data) + 1))[:size], dtype=raw.dtype, shape=shape
            ),
        }

    return maps(apply)


def typed(dtype: str, number: Any) -> Write:
    def apply(by_place: dict[str, RawTensor]) -> dict[str, RawTensor]:
        return {
            name: RawTensor(
                data=np.frombuffer(raw.data, np.float16).astype(number).tobytes(),
                dtype=dtype,
                shape=raw.shape,
            )
            for name, raw in by_place.items()
        }

    return maps(apply)


def settings(**changes: Any) -> Write:
    return rewritten(lambda features, other: replace(features, settings={**features.settings, **changes}))


def without_setting(name: str) -> Write:
    return rewritten(
        lambda features, other: replace(
            features, settings={key: value for key, value in features.settings.items() if key != name}
        )
    )


def metadata_of(features: StoredFeatures) -> dict[str, str]:
    return {
        "dreamcache.cache_key": features.cache_key,
        "dreamcache.reference_id": features.reference_id,
        "dreamcache.base_fingerprint": features.base_fingerprint,
        "dreamcache.settings": ids.canonical_json(features.settings),
    }


def table(
    build: Callable[[StoredFeatures], pa.Table], change: Callable[[dict[str, str]], None] = lambda m: None
) -> Write:
    """A sealed file of other rows or metadata than `to_parquet` would write."""

    def write(folder: Path) -> Path:
        first, _ = objects_of(folder)
        features = from_parquet(first.read_bytes())
        metadata = metadata_of(features)
        change(metadata)
        first.write_bytes(FEATURES.seal(build(features), **metadata))
        return first

    return write


def rows_of(features: StoredFeatures) -> list[dict[str, Any]]:
    return [
        {
            "place": place,
            "dtype": raw.dtype,
            "shape": list(raw.shape),
            "data": raw.data,
            "sha256": ids.of_bytes(raw.data),
        }
        for place, raw in features.maps.items()
    ]


def row(**changes: Any) -> Write:
    """The first row with other cells."""

    def build(features: StoredFeatures) -> pa.Table:
        rows = rows_of(features)
        rows[0].update(changes)
        return pa.Table.from_pylist(rows, schema=ROWS)

    return table(build)


def metadata(**changes: str | None) -> Write:
    def change(values: dict[str, str]) -> None:
        for name, value in changes.items():
            values.pop(f"dreamcache.{name}") if value is None else values.update(
                {f"dreamcache.{name}": value}
            )

    return table(lambda features: pa.Table.from_pylist(rows_of(features), schema=ROWS), change)


def sealed_by_hand(build: Callable[[StoredFeatures], pa.Table], **options: Any) -> Write:
    """A valid checksum over a file of any writer's options."""

    def write(folder: Path) -> Path:
        first, _ = objects_of(folder)
        features = from_parquet(first.read_bytes())
        content, sink = build(features), pa.BufferOutputStream()
        with pq.ParquetWriter(sink, content.schema, store_schema=False, **options) as writer:
            writer.write_table(content)
            label = {"dreamcache.schema": FEATURES.label}
            writer.add_key_value_metadata(
                {**label, **metadata_of(features), SEAL_KEY: (SEAL + ZEROS).decode()}
            )
        data = sink.getvalue().to_pybytes()
        start = data.index(SEAL) + len(SEAL)
        first.write_bytes(data[:start] + ids.of_bytes(data).encode() + data[start + len(ZEROS) :])
        return first

    return write


def bomb(num_bytes: int) -> Callable[[StoredFeatures], pa.Table]:
    def build(features: StoredFeatures) -> pa.Table:
        rows = rows_of(features)
        side = num_bytes // 2 // 1024
        rows[0].update(data=bytes(num_bytes), shape=[1024, side, 1], sha256=ids.of_bytes(bytes(num_bytes)))
        return pa.Table.from_pylist(rows, schema=ROWS)

    return build


def packed(compression: str, **options: Any) -> Write:
    return sealed_by_hand(bomb(16 << 20), compression=compression, use_dictionary=False, **options)


def many_rows(features: StoredFeatures) -> pa.Table:
    return pa.Table.from_pylist(
        [{**rows_of(features)[0], "place": "p", "data": b"", "shape": [0]}], schema=ROWS
    ).take(pa.array(np.zeros(20_000, np.int64)))


def flipped(at: float) -> Write:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[int(at * (len(data) - 1))] ^= 1
        return bytes(changed)

    return bytes_changed(change)


KINDS = [
    Kind(
        name="cache/damaged",
        door="cache",
        code="bad_cache",
        exit_code=0,
        inputs={
            "no bytes": bytes_changed(lambda data: b""),
            "first byte": flipped(0.0),
            "in the middle": flipped(0.5),
            "last byte": flipped(1.0),
            "half": bytes_changed(lambda data: data[: len(data) // 2]),
            "the last byte is missing": bytes_changed(lambda data: data[:-1]),
            "a byte too many": bytes_changed(lambda data: data + b"\0"),
            "zeros": bytes_changed(lambda data: bytes(len(data))),
            "text": bytes_changed(lambda data: b"<Error><Code>AccessDenied</Code></Error>"),
            "twice": bytes_changed(lambda data: data * 2),
        },
    ),
    Kind(
        name="cache/swapped",
        door="cache",
        code="bad_cache",
        exit_code=0,
        inputs={
            "another subject's file": replaced(lambda path, other: path.write_bytes(other.read_bytes())),
            "under the right key": rewritten(lambda first, other: replace(other, cache_key=first.cache_key)),
            "of another base": rewritten(lambda first, other: replace(first, base_fingerprint="0" * 64)),
            "of another reference": rewritten(
                lambda first, other: replace(first, reference_id=other.reference_id)
            ),
            "of no reference": rewritten(lambda first, other: replace(first, reference_id="")),
            "under another key": rewritten(lambda first, other: replace(first, cache_key=other.cache_key)),
            "under no key": rewritten(lambda first, other: replace(first, cache_key="")),
            "a link to another subject's": replaced(lambda path, other: path.symlink_to(other)),
        },
    ),
    Kind(
        name="cache/not-finite",
        door="cache",
        code="bad_cache",
        exit_code=0,
        inputs={
            "one NaN": value_at(0, np.nan),
            "the last is NaN": value_at(-1, np.nan),
            "infinity": value_at(7, np.inf),
            "minus infinity": value_at(7, -np.inf),
            "all NaN": all_values(np.nan),
            "all infinite": all_values(np.inf),
            "another place": value_at(3, np.nan, place=-1),
            "negative NaN": rewritten(numbers(lambda values: values.view(np.uint16).__setitem__(5, 0xFE01))),
        },
    ),
    Kind(
        name="cache/places",
        door="cache",
        code="bad_cache",
        exit_code=0,
        inputs={
            "first missing": maps(lambda by_place: dict(list(by_place.items())[1:])),
            "last missing": maps(lambda by_place: dict(list(by_place.items())[:-1])),
            "none": maps(lambda by_place: {}),
            "one too many": maps(lambda by_place: {**by_place, "extra": next(iter(by_place.values()))}),
            "renamed": maps(lambda by_place: {f"{name}x": raw for name, raw in by_place.items()}),
            "another order": maps(lambda by_place: dict(reversed(list(by_place.items())))),
            "no name": maps(lambda by_place: dict.fromkeys([""], next(iter(by_place.values())))),
            "exchanged": maps(
                lambda by_place: dict(zip(by_place, list(by_place.values())[::-1], strict=True))
            ),
        },
    ),
    Kind(
        name="cache/shapes",
        door="cache",
        code="bad_cache",
        exit_code=0,
        inputs={
            "half the channels": shaped(lambda shape: (shape[0] // 2, *shape[1:])),
            "one channel more": shaped(lambda shape: (shape[0] + 1, *shape[1:])),
            "half the side": shaped(lambda shape: (shape[0], shape[1] // 2, shape[2])),
            "flat": shaped(lambda shape: (int(np.prod(shape)),)),
            "one axis more": shaped(lambda shape: (1, *shape)),
            "turned": shaped(lambda shape: (shape[2], shape[1], shape[0])),
            "nothing": shaped(lambda shape: (0, 0, 0)),
            "a number": shaped(lambda shape: ()),
            "float32": typed("float32", np.float32),
            "bytes as bfloat16": typed("bfloat16", np.float16),
        },
    ),
    Kind(
        name="cache/settings",
        door="cache",
        code="bad_cache",
        exit_code=0,
        inputs={
            "another size": settings(size=8),
            "another timestep": settings(timestep=999),
            "another text": settings(text="a stranger"),
            "another segmenter": settings(segmenter="alpha"),
            "another seed": settings(noise_seed=7),
            "one more": settings(surprise=True),
            "one less": without_setting("margin"),
            "none": rewritten(lambda features, other: replace(features, settings={})),
            "another type": settings(size="512"),
        },
    ),
    Kind(
        name="cache/rows",
        door="cache",
        code="bad_cache",
        exit_code=0,
        inputs={
            "type unknown": row(dtype="float64"),
            "type of code": row(dtype="__class__"),
            "negative sides": row(shape=[-1, -2, 4]),
            "a side that overflows": row(shape=[2**62, 2**62, 4]),
            "no sides": row(shape=[]),
            "data missing": row(data=b""),
            "sum of others": row(sha256="0" * 64),
            "a place twice": table(
                lambda features: pa.Table.from_pylist(rows_of(features)[:1] * 2, schema=ROWS)
            ),
            "no rows": table(lambda features: pa.Table.from_pylist([], schema=ROWS)),
            "other columns": table(lambda features: pa.table({"a": [1, 2]})),
        },
    ),
    Kind(
        name="cache/metadata",
        door="cache",
        code="bad_cache",
        exit_code=0,
        inputs={
            "no key": metadata(cache_key=None),
            "no reference": metadata(reference_id=None),
            "no base": metadata(base_fingerprint=None),
            "no settings": metadata(settings=None),
            "settings that are no JSON": metadata(settings="{"),
            "settings that are a list": metadata(settings="[]"),
            "settings that are null": metadata(settings="null"),
            "settings of great depth": metadata(settings="[" * 100_000),
            "settings of NaN": metadata(settings=json.dumps({"size": float("nan")})),
            "settings of a huge number": metadata(settings='{"size": ' + "9" * 5000 + "}"),
        },
    ),
    Kind(
        name="cache/bomb",
        door="cache",
        code="bad_cache",
        exit_code=0,
        inputs={
            "a map of 16 MB": packed("zstd"),
            "a map of 16 MB, gzip": sealed_by_hand(bomb(16 << 20), compression="gzip", use_dictionary=False),
            "a map of 16 MB, snappy": sealed_by_hand(
                bomb(16 << 20), compression="snappy", use_dictionary=False
            ),
            "a map of 16 MB, brotli": sealed_by_hand(
                bomb(16 << 20), compression="brotli", compression_level=1, use_dictionary=False
            ),
            "dictionaries": sealed_by_hand(many_rows, compression="zstd", use_dictionary=True),
            "rows": sealed_by_hand(many_rows, compression="zstd", use_dictionary=False),
            "pages of version 2": sealed_by_hand(
                bomb(16 << 20), compression="zstd", data_page_version="2.0", use_dictionary=False
            ),
            "a sparse file": replaced(
                lambda path, other: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 6 << 30)
            ),
        },
    ),
    Kind(
        name="cache/no-file",
        door="cache",
        code="bad_cache",
        exit_code=0,
        s3=False,
        inputs={
            "pipe": replaced(lambda path, other: os.mkfifo(path)),
            "/dev/zero": replaced(lambda path, other: path.symlink_to("/dev/zero")),
            "/dev/full": replaced(lambda path, other: path.symlink_to("/dev/full")),
            "/dev/null": replaced(lambda path, other: path.symlink_to("/dev/null")),
            "a kernel file": replaced(lambda path, other: path.symlink_to("/proc/self/maps")),
            "a folder": replaced(lambda path, other: path.mkdir()),
            "a link to a folder": replaced(lambda path, other: path.symlink_to(".")),
            "an empty file": replaced(lambda path, other: path.touch()),
        },
    ),
]
