"""Changes of cache objects in place: see `cached`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core import ids
from dreamcache.storage.feature_file import FEATURES, ROWS, from_parquet, to_parquet
from dreamcache.storage.sealed_parquet import SEAL, SEAL_KEY, ZEROS
from dreamcache.storage.stored_features import RawTensor, StoredFeatures
from tests.corpus.kind import Write

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
