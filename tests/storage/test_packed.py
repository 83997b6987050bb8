"""Codes of 8 and 5 bits: how far they are from the numbers, and which data are refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.errors import CacheError
from dreamcache.storage import packed
from dreamcache.storage.feature_check import Expected, check
from dreamcache.storage.feature_file import FEATURES, ROWS, from_parquet, to_parquet
from dreamcache.storage.stored_features import RawTensor, StoredFeatures

SHAPES = [(3, 16, 16), (2, 4, 4), (1, 1, 1), (5, 7, 9), (2, 17, 19)]


def _values(shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(prod(shape))
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def prod(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


@pytest.mark.parametrize("dtype", packed.CODES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 5e3])
def test_each_number_is_within_a_step_of_its_group(dtype: str, shape: tuple[int, ...], scale: float) -> None:
    values = _values(shape, scale)
    data = packed.pack(values, dtype)
    packed.check(data, dtype, shape)
    assert len(data) == packed.most_bytes(dtype, shape[0], prod(shape[1:]))
    back = packed.unpack(data, dtype, shape)
    assert back.shape == shape and back.dtype == np.float32
    # Half a step, and what float16 rounds off the least value.
    span = values.max() - values.min()
    bound = span / (2 ** packed.CODES[dtype].bits - 1) * 0.51 + np.abs(values).max() * 2**-10
    assert np.abs(back - values).max() <= bound
    assert packed.pack(values, dtype) == data


def test_a_map_of_one_value_is_that_value() -> None:
    for dtype in packed.CODES:
        values = np.full((2, 5, 5), -1.5, np.float32)
        assert np.array_equal(packed.unpack(packed.pack(values, dtype), dtype, values.shape), values)


def _ground(shape: tuple[int, ...]) -> packed.Ground:
    owners = np.zeros(shape[1:], np.uint8)
    owners[0], owners[-1] = 1, 2
    return packed.Ground(vector_of=owners, vectors=np.array([[10.0, 20.0]] * shape[0], np.float32))


@pytest.mark.parametrize("dtype", packed.CODES)
def test_positions_of_the_ground_have_their_vector_and_the_subject_its_own(dtype: str) -> None:
    shape = (3, 16, 16)
    values, ground = _values(shape), _ground(shape)
    data = packed.pack(values, dtype, ground)
    form = dtype + packed.GROUND
    packed.check(data, form, shape)
    assert len(data) < packed.most_bytes(form, 3, 256)
    back = packed.unpack(data, form, shape)
    assert np.abs(back[:, 0] - 10).max() < 1 and np.abs(back[:, -1] - 20).max() < 1
    assert np.abs(back[:, 1:-1] - values[:, 1:-1]).max() < 1


def test_a_map_without_a_subject_or_without_a_ground() -> None:
    shape = (2, 3, 3)
    everywhere = packed.Ground(
        vector_of=np.ones((3, 3), np.uint8), vectors=np.array([[1.0], [2.0]], np.float32)
    )
    nowhere = packed.Ground(vector_of=np.zeros((3, 3), np.uint8), vectors=np.zeros((2, 0), np.float32))
    form = "int8" + packed.GROUND
    for ground, wanted in ((everywhere, [[1.0] * 9, [2.0] * 9]), (nowhere, None)):
        data = packed.pack(_values(shape), "int8", ground)
        packed.check(data, form, shape)
        back = packed.unpack(data, form, shape)
        if wanted is not None:
            assert np.array_equal(back.reshape(2, 9), np.array(wanted, np.float32))
        assert packed.is_finite(data, form, shape)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e9])
def test_what_codes_cannot_hold_stays_visible(bad: float) -> None:
    values = _values((2, 4, 4))
    values[1, 2, 2] = bad
    for dtype in packed.CODES:
        data = packed.pack(values, dtype)
        packed.check(data, dtype, values.shape)
        assert not packed.is_finite(data, dtype, values.shape)


FORM = "int5" + packed.GROUND
SHAPE = (3, 16, 16)
GOOD = packed.pack(_values(SHAPE), "int5", _ground(SHAPE))


@pytest.mark.parametrize(
    ("form", "shape", "data", "rule"),
    [
        ("int8", (3, 4, 4), b"", "must have"),
        ("int8", (3, 4), b"", "must have a shape"),
        ("int5", (1 << 14, 1 << 10, 1 << 10), b"", "at most"),
        (FORM, SHAPE, GOOD[:100], "at least"),
        (FORM, SHAPE, GOOD[:-1], "must have"),
        (FORM, SHAPE, GOOD + b"\0", "must have"),
        (FORM, SHAPE, b"\1\0" + GOOD[2:], "must name one of its 1 vectors"),
        (FORM, SHAPE, b"\xff\xff" + GOOD[2:], "must name one"),
        ("int4", SHAPE, GOOD, "dtype must be one of"),
    ],
)
def test_data_of_another_form_are_refused(form: str, shape: tuple[int, ...], data: bytes, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        RawTensor(data=data, dtype=form, shape=shape)


def _features(settings: EncodeSettings, raw: RawTensor) -> StoredFeatures:
    return StoredFeatures(
        cache_key="c", reference_id="r", base_fingerprint="b", settings=settings.as_dict(), maps={"mid": raw}
    )


def test_a_file_of_codes_is_read_back_and_is_what_the_job_expects() -> None:
    settings = EncodeSettings(places=("mid",), dtype="int5", ground_vectors=2)
    raw = RawTensor(data=GOOD, dtype=FORM, shape=SHAPE)
    features = _features(settings, raw)
    read = from_parquet(to_parquet(features), "c")
    assert read.maps == features.maps
    expected = Expected(reference_id="r", settings=settings, shapes={"mid": SHAPE})
    check(read, expected, "here")
    assert expected.num_bytes is not None and expected.num_bytes >= len(GOOD)
    plain = RawTensor(data=packed.pack(_values(SHAPE), "int5"), dtype="int5", shape=SHAPE)
    with pytest.raises(CacheError, match="must be int5/ground"):
        check(_features(settings, plain), expected, "here")


def _table(dtype: str, data: bytes, shape: list[int]) -> bytes:
    """A file as this or an earlier release wrote it."""
    row = {"place": "mid", "dtype": dtype, "shape": shape, "data": data, "sha256": ids.of_bytes(data)}
    names = ("cache_key", "reference_id", "base_fingerprint")
    metadata = {f"dreamcache.{name}": "c" for name in names} | {"dreamcache.settings": "{}"}
    return FEATURES.seal(pa.Table.from_pylist([row], schema=ROWS), **metadata)


def test_a_file_of_an_earlier_release_without_planes_is_read() -> None:
    numbers = _values((2, 3, 3)).astype("<f2").tobytes()
    old = from_parquet(_table("float16", numbers, [2, 3, 3]))
    assert old.maps["mid"].data == numbers
    assert from_parquet(to_parquet(old)).maps == old.maps


@pytest.mark.parametrize("dtype", ["float16/planes/planes", "int8/planes", "/planes", "float16/ground"])
def test_a_dtype_that_is_none_is_refused(dtype: str) -> None:
    with pytest.raises(CacheError, match="dtype must be one of"):
        from_parquet(_table(dtype, b"\0" * 18, [1, 3, 3]))


def test_half_a_number_of_planes_is_refused() -> None:
    with pytest.raises(CacheError, match="whole numbers"):
        from_parquet(_table("float16/planes", b"\0" * 17, [1, 3, 3]))
