"""The feature cache: the stored features of references, shared by all jobs. One object each (`feature_file`).

    <root>/<base fingerprint, 16 hex>/<2 hex>/<cache_key>.parquet

A file that is damaged or foreign raises `CacheError` and is never used. Knows keys and files; not who encodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from dreamcache.core import ids
from dreamcache.core.errors import CacheError
from dreamcache.storage.bounded import IsFolder, NotRegular, TooLarge
from dreamcache.storage.feature_check import Expected, check, check_finite
from dreamcache.storage.feature_file import MOST_BYTES, from_parquet, to_parquet
from dreamcache.storage.feature_seal import secret
from dreamcache.storage.open_store import open_store, store_for
from dreamcache.storage.store import join
from dreamcache.storage.stored_features import RawTensor, StoredFeatures

__all__ = [
    "CacheEntry",
    "Expected",
    "FeatureCache",
    "RawTensor",
    "StoredFeatures",
    "delete_entry",
    "from_parquet",
    "list_entries",
    "mark_cache",
    "read_entry",
    "to_parquet",
    "verify_entries",
]

BASE_DIGITS = 16
CACHE_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Features of dreamcache; they can be made again.\n"
)
_ENTRY = re.compile(r"([0-9a-f]{1,16})/[0-9a-f]{2}/([0-9a-f]{64})\.parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheEntry:
    """One object of the cache, as listed. `base` is the fingerprint's first 16 digits; `modified` is UTC."""

    uri: str
    cache_key: str
    base: str
    num_bytes: int
    modified: datetime


class FeatureCache:
    """The entries of one base model below `root_uri`. Thread-safe and picklable: it keeps no state.

    Methods raise StorageError when the location cannot be used.
    """

    def __init__(self, root_uri: str, base_fingerprint: str) -> None:
        self.root_uri = root_uri
        self.base_fingerprint = base_fingerprint
        self._store = open_store(root_uri)

    def uri_of(self, cache_key: str) -> str:
        """Where the features are, or would be."""
        return self._store.at(self._name_of(cache_key))

    def _name_of(self, cache_key: str) -> str:
        return join(self.base_fingerprint[:BASE_DIGITS], ids.shard_of(cache_key), f"{cache_key}.parquet")

    def get(self, cache_key: str, expected: Expected | None = None) -> StoredFeatures | None:
        """The features, None when there are none.

        expected: what they are compared with. CacheError when the file is damaged, foreign, or not what is expected.
        """
        uri = self.uri_of(cache_key)
        limit = (expected.num_bytes if expected else None) or MOST_BYTES
        try:
            data = self._store.read(self._name_of(cache_key), limit)
        except FileNotFoundError:
            return None
        except (TooLarge, NotRegular, IsFolder) as error:
            raise CacheError(f"{error}; the reference must be encoded again") from error
        features = from_parquet(data, cache_key, where=uri, limit=limit)
        if features.base_fingerprint != self.base_fingerprint:
            raise CacheError(
                f"{uri}: base model must be {self.base_fingerprint}, got {features.base_fingerprint}; "
                "the reference must be encoded again"
            )
        if expected is not None:
            check(features, expected, uri)
        return features

    def put(self, features: StoredFeatures) -> None:
        """Store, or overwrite a damaged file, in one step. ValueError for features of another base model."""
        if features.base_fingerprint != self.base_fingerprint:
            raise ValueError(f"base must be {self.base_fingerprint}, got {features.base_fingerprint}")
        self._store.write(self._name_of(features.cache_key), to_parquet(features))

    def has(self, cache_key: str) -> bool:
        """Whether a file that is not empty is there; not whether it is sound (see `get`)."""
        info = self._store.stat(self._name_of(cache_key))
        return info is not None and info.num_bytes > 0

    def entries(self) -> Iterator[CacheEntry]:
        """This base model's entries, in no promised order."""
        base = self.base_fingerprint[:BASE_DIGITS]
        return (entry for entry in list_entries(self.root_uri) if entry.base == base)

    def verify(self, cache_key: str) -> bool:
        """True when sound, False when absent; CacheError when damaged or foreign."""
        return self.get(cache_key) is not None

    def delete(self, cache_key: str) -> None:
        self._store.delete(self._name_of(cache_key))


def mark_cache(root_uri: str) -> None:
    """Marks the folder as a cache, which backup programs pass over (bford.info/cachedir).

    Raises StorageError, so that a location that cannot be written, or a bad secret, is known before models are loaded.
    """
    secret()
    open_store(root_uri).create("CACHEDIR.TAG", CACHE_TAG)


def list_entries(root_uri: str) -> Iterator[CacheEntry]:
    """All entries below a cache's root, over all base models; other files are passed over."""
    store = open_store(root_uri)
    for info in store.list():
        match = _ENTRY.fullmatch(store.key_of(info.uri))
        if match:
            yield CacheEntry(
                uri=info.uri,
                base=match[1],
                cache_key=match[2],
                num_bytes=info.num_bytes,
                modified=info.modified,
            )


def read_entry(entry: CacheEntry) -> StoredFeatures:
    """Read and check one listed entry. CacheError when damaged, foreign or without the seal of this process's secret,
    FileNotFoundError when gone."""
    try:
        data = store_for(entry.uri).read(entry.uri, MOST_BYTES)
    except (TooLarge, NotRegular, IsFolder) as error:
        raise CacheError(str(error)) from error
    features = from_parquet(data, entry.cache_key, where=entry.uri)
    if features.base_fingerprint[:BASE_DIGITS] != entry.base:
        raise CacheError(f"{entry.uri}: base model must be {entry.base}..., got {features.base_fingerprint}")
    check_finite(features, entry.uri)
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
    """Remove one listed entry; no error when it is gone."""
    store_for(entry.uri).delete(entry.uri)
