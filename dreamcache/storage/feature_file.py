"""The features of one reference as one file: sealed Parquet, readable by any Parquet reader.

    row per place: place, dtype, shape, data, sha256 of data
    metadata: schema version, cache key, reference id, base fingerprint, encoding settings (JSON), a seal if the
              process that wrote it has a secret (see `feature_seal`)

Data of a float dtype are row-major and little endian; "float16/planes" and its like hold the first byte of each number,
then the second: they compress better. Other dtypes are those of `packed`.

Holds bytes, not tensors: needs no torch. Knows nothing of where the file lies (see `feature_cache`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from dreamcache.core import ids
from dreamcache.core.errors import CacheError, StorageError
from dreamcache.storage.feature_seal import check_signature, secret, signature
from dreamcache.storage.part_log import NewerFormatError, PartFormat
from dreamcache.storage.stored_features import BYTES_PER_NUMBER, RawTensor, StoredFeatures

PLANES = "/planes"
"""Ends the dtype of a row whose data are planes of bytes; a release that does not know it encodes again."""

ROWS = pa.schema(
    [
        pa.field("place", pa.string(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.field("element", pa.int64(), nullable=False)), nullable=False),
        pa.field("data", pa.binary(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)

MOST_BYTES = 1 << 29
"""What the features of one reference may have, packed and unpacked: those of all places of SDXL have 400 MB."""
MOST_PLACES = 1000
SIGNATURE = "dreamcache.signature"
FEATURES = PartFormat(family="dreamcache.features/", number=1, schema=ROWS)


def to_parquet(features: StoredFeatures) -> bytes:
    """The features as one sealed Parquet file, places in the order of `maps`; the same bytes each time."""
    rows = [_row(place, raw) for place, raw in features.maps.items()]
    metadata = {
        "dreamcache.cache_key": features.cache_key,
        "dreamcache.reference_id": features.reference_id,
        "dreamcache.base_fingerprint": features.base_fingerprint,
        "dreamcache.settings": ids.canonical_json(features.settings),
    }
    if features.segment_note is not None:
        metadata["dreamcache.segment_note"] = features.segment_note
    if (key := secret()) is not None:
        metadata[SIGNATURE] = signature(features, key)
    return FEATURES.seal(pa.Table.from_pylist(rows, schema=ROWS), **metadata)


def from_parquet(
    data: bytes,
    expected_key: str | None = None,
    *,
    where: str = "cached features",
    limit: int = MOST_BYTES,
) -> StoredFeatures:
    """Read back what `to_parquet` wrote. limit: bytes that the maps may unpack to.

    Raises CacheError (`bad_cache`) that begins with `where` and names what differs: a single changed or missing
    byte, an older format, or another cache key than `expected_key`; `unsealed_cache` where this process has a secret
    and they do not carry its seal. StorageError `newer_format` for the file of a
    later release, which must not be overwritten.
    """
    try:
        table, metadata = FEATURES.unseal(data, limit, MOST_PLACES)
        cache_key = metadata["dreamcache.cache_key"]
        if expected_key is not None and cache_key != expected_key:
            raise ValueError(f"has cache key {cache_key}, needed is {expected_key}")
        features = StoredFeatures(
            cache_key=cache_key,
            reference_id=metadata["dreamcache.reference_id"],
            base_fingerprint=metadata["dreamcache.base_fingerprint"],
            settings=_settings(metadata["dreamcache.settings"]),
            maps={row["place"]: _raw_tensor(row) for row in table.to_pylist()},
            segment_note=_segment_note(metadata),
        )
    except NewerFormatError as error:
        raise StorageError(
            f"{where}: features of this release's format are needed, got a file that {error}; "
            "update dreamcache to the release that wrote it, or choose another cache",
            code="newer_format",
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        text = " ".join(str(error).split())[:300]
        raise CacheError(f"{where}: {text}; the reference must be encoded again") from error
    check_signature(features, metadata.get(SIGNATURE), where)
    return features


def _settings(text: str) -> dict[str, Any]:
    settings = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(settings, dict):
        raise ValueError("settings must be an object")
    return settings


def _refuse_constant(name: str) -> None:
    raise ValueError(f"settings must hold finite numbers, hold {name}")


def _segment_note(metadata: Mapping[str, str]) -> str | None:
    note = metadata.get("dreamcache.segment_note")
    if note is not None and not re.fullmatch("[a-z_]{1,40}", note):
        raise ValueError("segment_note must be the code of a reason")
    return note


def _row(place: str, raw: RawTensor) -> dict[str, Any]:
    width = BYTES_PER_NUMBER.get(raw.dtype)
    data = raw.data if width is None else _planes(raw.data, width)
    dtype = raw.dtype if width is None else raw.dtype + PLANES
    return {
        "place": place,
        "dtype": dtype,
        "shape": list(raw.shape),
        "data": data,
        "sha256": ids.of_bytes(data),
    }


def _raw_tensor(row: dict[str, Any]) -> RawTensor:
    data, dtype = row["data"], row["dtype"]
    if ids.of_bytes(data) != row["sha256"]:
        raise ValueError(f"place {row['place']}: data do not match their sha256")
    width = BYTES_PER_NUMBER.get(dtype.removesuffix(PLANES))
    if dtype.endswith(PLANES) and width is not None:
        dtype = dtype.removesuffix(PLANES)
        if len(data) % width:
            raise ValueError(f"place {row['place']}: {dtype} must have whole numbers, got {len(data)} bytes")
        data = _planes(data, len(data) // width)
    return RawTensor(data=data, dtype=dtype, shape=tuple(row["shape"]))


def _planes(data: bytes, width: int) -> bytes:
    """Byte 0 of each run of `width` bytes, then byte 1, and so on; of planes, the runs again."""
    if not data:
        return data
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, width).T.tobytes()
