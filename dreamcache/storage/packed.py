"""Numbers of a feature map in fewer bytes: codes of 8 or 5 bits, and few vectors for the ground around a subject.

    values [C, h, w] --pack--> group by group: least value and step (float16), a code a number --unpack--> float32

A group is a run of positions of one channel. Form "int5/ground" stores the positions of the subject and K vectors;
each position of the ground names its vector, so attention over the unpacked map weighs a vector by its positions.
Equal values give equal bytes, and equal bytes equal values, on every machine. Holds numpy arrays; knows no files.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUND = "/ground"
"""Ends the name of a form that has vectors for the ground."""

MOST_VECTORS = 255
MOST_NUMBERS = 1 << 28
"""Of one map: what little data may unpack to."""

Values = NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Codes:
    """bits: of a code; group: positions of a channel that share their least value and step."""

    bits: int
    group: int

    def groups(self, positions: int) -> int:
        """Of one channel."""
        return -(-positions // self.group)

    def num_bytes(self, channels: int, positions: int) -> int:
        """Exact."""
        return 4 * channels * self.groups(positions) + -(-channels * positions * self.bits // 8)


CODES = {"int8": Codes(bits=8, group=256), "int5": Codes(bits=5, group=64)}
FORMS = (*CODES, *(name + GROUND for name in CODES))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """vector_of: [h, w], 0 for a position of the subject, else which of `vectors` stands for it, counted from 1.

    vectors: [C, K].
    """

    vector_of: NDArray[np.uint8]
    vectors: Values


def pack(values: Values, dtype: str, ground: Ground | None = None) -> bytes:
    """values [C, h, w] as codes of `dtype`, a name of CODES; with `ground` in the form `dtype` + GROUND."""
    flat = values.reshape(len(values), -1)
    if ground is None:
        return _pack(flat, CODES[dtype])
    owners = ground.vector_of.reshape(-1)
    columns = np.concatenate([flat[:, owners == 0], ground.vectors], axis=1)
    count = np.array([ground.vectors.shape[1]], dtype="<u2")
    return count.tobytes() + owners.tobytes() + _pack(columns, CODES[dtype])


def unpack(data: bytes, form: str, shape: Shape) -> Values:
    """The numbers [C, h, w] of data that `check` has passed."""
    channels, positions = shape[0], prod(shape[1:])
    codes = CODES[form.removesuffix(GROUND)]
    if not form.endswith(GROUND):
        return _unpack(data, codes, channels, positions).reshape(shape)
    count, owners, rest = _parts(data, positions)
    subject = int((owners == 0).sum())
    columns = _unpack(rest, codes, channels, subject + count)
    source = np.where(owners == 0, np.cumsum(owners == 0) - 1, subject + owners.astype(np.int64) - 1)
    return np.ascontiguousarray(columns[:, source]).reshape(shape)


def most_bytes(form: str, channels: int, positions: int) -> int:
    """Of a map, at most; exact for a form without a ground."""
    codes = CODES[form.removesuffix(GROUND)]
    if not form.endswith(GROUND):
        return codes.num_bytes(channels, positions)
    # Vectors stand for a position each at least, so there are never more columns than positions.
    return 2 + positions + codes.num_bytes(channels, positions)


def check(data: bytes, form: str, shape: Shape) -> None:
    """Raises ValueError for data that are not of this form and shape."""
    if len(shape) != 3 or min(shape) < 1 or prod(shape) > MOST_NUMBERS:
        raise ValueError(f"{form} must have a shape [C, h, w] of at most {MOST_NUMBERS} numbers, got {shape}")
    channels, positions = shape[0], prod(shape[1:])
    codes = CODES[form.removesuffix(GROUND)]
    wanted = codes.num_bytes(channels, positions)
    if form.endswith(GROUND):
        if len(data) < 2 + positions:
            raise ValueError(
                f"{form} of shape {shape} must have {2 + positions} bytes at least, got {len(data)}"
            )
        count, owners, _ = _parts(data, positions)
        if int(owners.max(initial=0)) > count or count > min(MOST_VECTORS, positions):
            raise ValueError(f"{form}: positions must name one of its {count} vectors")
        columns = int((owners == 0).sum()) + count
        wanted = 2 + positions + codes.num_bytes(channels, columns)
    if len(data) != wanted:
        raise ValueError(f"{form} of shape {shape} must have {wanted} bytes, got {len(data)}")


def is_finite(data: bytes, form: str, shape: Shape) -> bool:
    """Whether no number of data that `check` has passed is NaN or infinite."""
    channels, positions = shape[0], prod(shape[1:])
    codes = CODES[form.removesuffix(GROUND)]
    if form.endswith(GROUND):
        count, owners, data = _parts(data, positions)
        positions = int((owners == 0).sum()) + count
    limits = np.frombuffer(data, dtype="<f2", count=2 * channels * codes.groups(positions))
    return bool(np.isfinite(limits).all())


def _parts(data: bytes, positions: int) -> tuple[int, NDArray[np.uint8], bytes]:
    """(number of vectors, the vector of each position, packed columns)."""
    count = int(np.frombuffer(data, dtype="<u2", count=1)[0])
    return count, np.frombuffer(data, dtype=np.uint8, count=positions, offset=2), data[2 + positions :]


def _pack(columns: Values, codes: Codes) -> bytes:
    """columns [C, n]: the groups' least values, their steps, and the codes as one string of bits."""
    channels, count = columns.shape
    groups = codes.groups(count)
    padded = np.pad(columns, ((0, 0), (0, groups * codes.group - count)), mode="edge") if count else columns
    grouped = padded.reshape(channels, groups, -1 if count else 1)
    # NaN and what float16 cannot hold stay visible: see `is_finite`.
    with np.errstate(over="ignore", invalid="ignore"):
        least = grouped.min(axis=2).astype("<f2") if count else np.zeros((channels, 0), "<f2")
        span = (
            grouped.max(axis=2) - least.astype(np.float32) if count else np.zeros((channels, 0), np.float32)
        )
        step = (span / (2**codes.bits - 1)).astype("<f2")
        low, width = _per_number(least, codes, count), _per_number(step, codes, count)
        scaled = (columns - low) / np.where(width > 0, width, np.float32(1))
        numbers = np.nan_to_num(np.clip(np.rint(scaled), 0, 2**codes.bits - 1)).astype(np.uint8)
    limits: bytes = least.tobytes() + step.tobytes()
    return limits + _bits(numbers, codes.bits)


def _unpack(data: bytes, codes: Codes, channels: int, count: int) -> Values:
    groups = codes.groups(count)
    limits = np.frombuffer(data, dtype="<f2", count=2 * channels * groups).reshape(2, channels, groups)
    numbers = _numbers(data[limits.nbytes :], codes.bits, channels * count).reshape(channels, count)
    least, step = (_per_number(part, codes, count) for part in limits)
    return numbers.astype(np.float32) * step + least


def _per_number(limits: NDArray[Any], codes: Codes, count: int) -> Values:
    """[C, groups] -> [C, count]"""
    return np.repeat(limits.astype(np.float32), codes.group, axis=1)[:, :count]


def _bits(numbers: NDArray[np.uint8], bits: int) -> bytes:
    if bits == 8:
        return numbers.tobytes()
    return np.packbits(np.unpackbits(numbers.reshape(-1, 1), axis=1)[:, 8 - bits :]).tobytes()


def _numbers(data: bytes, bits: int, count: int) -> NDArray[np.uint8]:
    if bits == 8:
        return np.frombuffer(data, dtype=np.uint8, count=count)
    digits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count * bits).reshape(count, bits)
    return np.packbits(np.pad(digits, ((0, 0), (8 - bits, 0))), axis=1).reshape(-1)
