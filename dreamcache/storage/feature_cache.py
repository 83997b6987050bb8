"""The feature cache: the stored features of references, shared by all jobs. One sealed Parquet object each.

    <root>/<base fingerprint, 16 hex>/<2 hex>/<cache_key>.parquet
        row per place: place, dtype, shape, data (raw, little endian), sha256 of data
        metadata: schema version, cache key, reference id, base fingerprint, encoding settings (JSON)

Holds bytes, not tensors: needs no torch. A file that is damaged or foreign raises `CacheError` and is never used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import prod
from typing import Any

import pyarrow as pa

from dreamcache import keys
from dreamcache.errors import CacheError
from dreamcache.storage.filesystem import join, relative_to, store_for
from dreamcache.storage.sealed import seal, unseal

SCHEMA_VERSION = "dreamcache.features/1"
BYTES_PER_NUMBER = {"float16": 2, "bfloat16": 2, "float32": 4}
BASE_DIGITS = 16
ROWS = pa.schema(
    [
        pa.field("place", pa.string(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.field("element", pa.int64(), nullable=False)), nullable=False),
        pa.field("data", pa.binary(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)
_ENTRY = re.compile(r"([0-9a-f]{1,16})/[0-9a-f]{2}/([0-9a-f]{64})\.parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class RawTensor:
    """A tensor's numbers, row-major and little endian, without the library that made them."""

    data: bytes
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in BYTES_PER_NUMBER:
            raise ValueError(f"dtype must be one of {', '.join(BYTES_PER_NUMBER)}, got {self.dtype!r}")
        wanted = prod(self.shape) * BYTES_PER_NUMBER[self.dtype]
        if len(self.data) != wanted:
            raise ValueError(
                f"{self.dtype} of shape {self.shape} must have {wanted} bytes, got {len(self.data)}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFeatures:
    """The features of one reference by place, and what made them."""

    cache_key: str
    reference_id: str
    base_fingerprint: str
    settings: dict[str, Any]
    maps: Mapping[str, RawTensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheEntry:
    """One object of the cache, as listed. `base` is the fingerprint's first 16 digits; `modified` is UTC."""

    uri: str
    cache_key: str
    base: str
    num_bytes: int
    modified: datetime


def to_parquet(features: StoredFeatures) -> bytes:
    """The features as one sealed Parquet file, places in the order of `maps`; the same features, the same bytes."""
    rows = [
        {
            "place": place,
            "dtype": raw.dtype,
            "shape": list(raw.shape),
            "data": raw.data,
            "sha256": keys.of_bytes(raw.data),
        }
        for place, raw in features.maps.items()
    ]
    metadata = {
        "dreamcache.schema": SCHEMA_VERSION,
        "dreamcache.cache_key": features.cache_key,
        "dreamcache.reference_id": features.reference_id,
        "dreamcache.base_fingerprint": features.base_fingerprint,
        "dreamcache.settings": keys.canonical_json(features.settings),
    }
    return seal(pa.Table.from_pylist(rows, schema=ROWS), metadata)


def from_parquet(
    data: bytes, expected_key: str | None = None, *, where: str = "cached features"
) -> StoredFeatures:
    """Read back what `to_parquet` wrote.

    Raises CacheError (`bad_cache`) that begins with `where` and names what differs: a single changed or missing
    byte, another schema, or another cache key than `expected_key`.
    """
    try:
        table, metadata = unseal(data)
        if metadata.get("dreamcache.schema") != SCHEMA_VERSION:
            raise ValueError(f"schema must be {SCHEMA_VERSION}, got {metadata.get('dreamcache.schema')}")
        if not table.schema.equals(ROWS):
            raise ValueError(f"columns must be {ROWS.names}, got {table.schema.names} or other types")
        found = metadata["dreamcache.cache_key"]
        if expected_key is not None and found != expected_key:
            raise ValueError(f"cache key must be {expected_key}, got {found}")
        return StoredFeatures(
            cache_key=found,
            reference_id=metadata["dreamcache.reference_id"],
            base_fingerprint=metadata["dreamcache.base_fingerprint"],
            settings=json.loads(metadata["dreamcache.settings"]),
            maps={row["place"]: _raw_tensor(row) for row in table.to_pylist()},
        )
    except (ValueError, KeyError) as error:
        raise CacheError(f"{where}: {error}; the reference must be encoded again") from error


def _raw_tensor(row: dict[str, Any]) -> RawTensor:
    if keys.of_bytes(row["data"]) != row["sha256"]:
        raise ValueError(f"place {row['place']}: data do not match their sha256")
    return RawTensor(data=row["data"], dtype=row["dtype"], shape=tuple(row["shape"]))


class FeatureCache:
    """The entries of one base model below `root_uri`. Thread-safe and picklable: it keeps no state.

    Methods raise StorageError when the place cannot be used.
    """

    def __init__(self, root_uri: str, base_fingerprint: str) -> None:
        self.root_uri = root_uri
        self.base_fingerprint = base_fingerprint
        self._store = store_for(root_uri)

    def uri_of(self, cache_key: str) -> str:
        base = self.base_fingerprint[:BASE_DIGITS]
        return join(self.root_uri, base, keys.shard_of(cache_key), f"{cache_key}.parquet")

    def get(self, cache_key: str) -> StoredFeatures | None:
        """The features, None when there are none; CacheError when the file is damaged or foreign."""
        uri = self.uri_of(cache_key)
        try:
            data = self._store.read(uri)
        except FileNotFoundError:
            return None
        features = from_parquet(data, cache_key, where=uri)
        if features.base_fingerprint != self.base_fingerprint:
            raise CacheError(
                f"{uri}: base model must be {self.base_fingerprint}, got {features.base_fingerprint}; "
                "the reference must be encoded again"
            )
        return features

    def put(self, features: StoredFeatures) -> None:
        """Store, or overwrite a damaged file, in one step. ValueError for features of another base model."""
        if features.base_fingerprint != self.base_fingerprint:
            raise ValueError(f"base must be {self.base_fingerprint}, got {features.base_fingerprint}")
        self._store.write(self.uri_of(features.cache_key), to_parquet(features))

    def has(self, cache_key: str) -> bool:
        """Whether a file is there; not whether it is sound (see `get`)."""
        return self._store.stat(self.uri_of(cache_key)) is not None

    def entries(self) -> Iterator[CacheEntry]:
        """This base model's entries, in no promised order."""
        base = self.base_fingerprint[:BASE_DIGITS]
        return (entry for entry in list_entries(self.root_uri) if entry.base == base)

    def verify(self, cache_key: str) -> bool:
        """True when sound, False when absent; CacheError when damaged or foreign."""
        return self.get(cache_key) is not None

    def delete(self, cache_key: str) -> None:
        self._store.delete(self.uri_of(cache_key))


def list_entries(root_uri: str) -> Iterator[CacheEntry]:
    """All entries below a cache's root, over all base models; other files are passed over."""
    for info in store_for(root_uri).list(root_uri):
        match = _ENTRY.fullmatch(relative_to(info.uri, root_uri))
        if match:
            yield CacheEntry(
                uri=info.uri,
                base=match[1],
                cache_key=match[2],
                num_bytes=info.num_bytes,
                modified=info.modified,
            )


def read_entry(entry: CacheEntry) -> StoredFeatures:
    """Read and check one listed entry. CacheError when damaged or foreign, FileNotFoundError when gone."""
    features = from_parquet(store_for(entry.uri).read(entry.uri), entry.cache_key, where=entry.uri)
    if features.base_fingerprint[:BASE_DIGITS] != entry.base:
        raise CacheError(f"{entry.uri}: base model must be {entry.base}..., got {features.base_fingerprint}")
    return features


def verify_entries(root_uri: str) -> Iterator[tuple[CacheEntry, CacheError | None]]:
    """Read every entry below the root: (entry, None) when sound, (entry, what is wrong) when not."""
    for entry in list_entries(root_uri):
        try:
            read_entry(entry)
        except CacheError as error:
            yield entry, error
        except FileNotFoundError:
            continue
        else:
            yield entry, None


def delete_entry(entry: CacheEntry) -> None:
    store_for(entry.uri).delete(entry.uri)
