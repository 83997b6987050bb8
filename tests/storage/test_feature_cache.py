"""The feature cache: what is put is got back, and nothing else ever is."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import CacheError, StorageError
from dreamcache.storage.feature_cache import (
    FeatureCache,
    RawTensor,
    StoredFeatures,
    delete_entry,
    from_parquet,
    list_entries,
    to_parquet,
    verify_entries,
)
from dreamcache.storage.open_store import join, store_for

BASE = ids.of_bytes(b"base")


def _features(name: str = "one", base: str = BASE) -> StoredFeatures:
    rng = np.random.default_rng(len(name))
    small = rng.standard_normal((1, 16, 8)).astype("<f2")
    return StoredFeatures(
        cache_key=ids.of_bytes(name.encode()),
        reference_id=ids.of_bytes(b"reference" + name.encode()),
        base_fingerprint=base,
        settings={**EncodeSettings().as_dict(), "places": ["mid", "up.1"], "text": "ü"},
        maps={
            "mid": RawTensor(data=small.tobytes(), dtype="float16", shape=(1, 16, 8)),
            "up.1": RawTensor(data=small.tobytes() * 2, dtype="bfloat16", shape=(2, 16, 8)),
            "full": RawTensor(data=small.astype("<f4").tobytes(), dtype="float32", shape=(16, 8)),
            "empty": RawTensor(data=b"", dtype="float32", shape=(0, 8)),
        },
    )


def test_round_trip_and_same_bytes() -> None:
    features = _features()
    data = to_parquet(features)
    assert from_parquet(data, features.cache_key) == features
    assert list(from_parquet(data).maps) == list(features.maps)
    assert to_parquet(features) == data


def test_any_parquet_reader_reads_it() -> None:
    features = _features()
    table = pq.read_table(pa.BufferReader(to_parquet(features)))
    rows = table.to_pylist()
    assert [row["place"] for row in rows] == list(features.maps)
    assert rows[0]["shape"] == [1, 16, 8]
    assert rows[0]["sha256"] == ids.of_bytes(rows[0]["data"])
    assert table.schema.metadata[b"dreamcache.base_fingerprint"].decode() == BASE


def test_every_tenth_byte_damaged_and_every_cut_is_seen() -> None:
    data = to_parquet(_features())
    assert from_parquet(data).maps
    for at in range(0, len(data), 10):
        for flip in (0x01, 0x80, 0xFF):
            damaged = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            with pytest.raises(CacheError) as caught:
                from_parquet(damaged)
            assert caught.value.code == "bad_cache"
        with pytest.raises(CacheError):
            from_parquet(data[:at])
    with pytest.raises(CacheError):
        from_parquet(data + b"\0")


def test_every_byte_of_the_footer_damaged_is_seen() -> None:
    data = to_parquet(_features())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for at in range(footer, len(data)):
        with pytest.raises(CacheError):
            from_parquet(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_foreign_files_say_what_differs() -> None:
    features = _features()
    with pytest.raises(CacheError, match=f"has cache key {features.cache_key}, needed is {'0' * 64}"):
        from_parquet(to_parquet(features), "0" * 64)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), sink)
    for foreign in (sink.getvalue().to_pybytes(), b"", b"PAR1PAR1", b"a text"):
        with pytest.raises(CacheError, match="no checksum of ours"):
            from_parquet(foreign)
    from dreamcache.storage.sealed_parquet import seal

    with pytest.raises(CacheError, match=r"has format other/9, this release reads dreamcache\.features/1"):
        from_parquet(seal(pa.table({"x": [1]}), {"dreamcache.schema": "other/9"}))
    with pytest.raises(CacheError, match="has no column 'place'"):
        from_parquet(seal(pa.table({"x": [1]}), {"dreamcache.schema": "dreamcache.features/1"}))


def test_the_features_of_a_later_release_are_never_overwritten(place: str) -> None:
    """A CacheError would make the caller encode again and write over what the later release needs."""
    from dreamcache.storage.sealed_parquet import seal

    cache = FeatureCache(place, BASE)
    uri = cache.uri_of("a" * 64)
    store_for(place).write(uri, seal(pa.table({"x": [1]}), {"dreamcache.schema": "dreamcache.features/2"}))
    with pytest.raises(StorageError, match=r"features/2, this release reads .*features/1; update") as caught:
        cache.get("a" * 64)
    assert caught.value.code == "newer_format"
    assert uri in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [("float16", (2, 2), 9), ("float32", (2, 2), 15), ("float64", (1,), 8), ("bfloat16", (3,), 12)],
)
def test_raw_tensors_are_checked(dtype: str, shape: tuple[int, ...], size: int) -> None:
    with pytest.raises(ValueError, match="must"):
        RawTensor(data=bytes(size), dtype=dtype, shape=shape)


def test_cache_put_get_has_delete(place: str) -> None:
    cache = pickle.loads(pickle.dumps(FeatureCache(place, BASE)))
    features = _features()
    key = features.cache_key
    assert cache.uri_of(key) == f"{place}/{BASE[:16]}/{key[:2]}/{key}.parquet"
    assert cache.get(key) is None
    assert not cache.has(key)
    assert not cache.verify(key)
    cache.put(features)
    assert cache.get(key) == features
    assert cache.has(key)
    assert cache.verify(key)
    cache.delete(key)
    assert cache.get(key) is None


def test_cache_refuses_damage_other_key_and_other_base(place: str) -> None:
    store, cache, features = store_for(place), FeatureCache(place, BASE), _features()
    uri, data = cache.uri_of(features.cache_key), to_parquet(features)
    store.write(uri, data[:100] + b"\0" + data[101:])
    with pytest.raises(CacheError, match=f"{features.cache_key}.parquet: checksum.*must be encoded again"):
        cache.get(features.cache_key)
    store.write(uri, to_parquet(_features("other")))
    with pytest.raises(CacheError, match="has cache key"):
        cache.get(features.cache_key)
    near = BASE[:16] + "0" * 48
    store.write(uri, to_parquet(replace(features, base_fingerprint=near)))
    with pytest.raises(CacheError, match=f"base model must be {BASE}, got {near}"):
        cache.get(features.cache_key)
    with pytest.raises(ValueError, match="base must be"):
        cache.put(replace(features, base_fingerprint=near))
    cache.put(features)
    assert cache.get(features.cache_key) == features


def test_list_and_verify_over_all_bases(place: str) -> None:
    other = ids.of_bytes(b"other base")
    written = {(_features(str(n), base).cache_key, base[:16]) for n in range(3) for base in (BASE, other)}
    for n in range(3):
        for base in (BASE, other):
            FeatureCache(place, base).put(_features(str(n), base))
    store_for(place).write(join(place, "README.txt"), b"not an entry")
    entries = list(list_entries(place))
    assert {(entry.cache_key, entry.base) for entry in entries} == written
    assert len(entries) == 6
    assert {entry.base for entry in FeatureCache(place, other).entries()} == {other[:16]}
    assert all(entry.num_bytes == len(store_for(place).read(entry.uri)) for entry in entries)

    bad = entries[2]
    store_for(place).write(bad.uri, b"PAR1" + bytes(50))
    found = {entry.uri: error for entry, error in verify_entries(place)}
    assert len(found) == 6
    assert [uri for uri, error in found.items() if error] == [bad.uri]
    delete_entry(bad)
    assert [error for _, error in verify_entries(place)] == [None] * 5


def test_readers_never_see_a_half_written_file(place: str) -> None:
    """Writers overwrite one entry while readers get it: always absent or whole."""
    cache, features = FeatureCache(place, BASE), _features()

    def work(n: int) -> bool:
        if n % 2:
            cache.put(features)
            return True
        return cache.get(features.cache_key) in (None, features)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
