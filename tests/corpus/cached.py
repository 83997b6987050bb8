"""Objects of a shared cache: damaged, swapped, or written by someone else under the right key.

An input gets the folder of a cache with the sound features of two references, the photos of subjects a and b encoded
alike, and changes the object of the first in place (see `objects_of`).
"""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa

from dreamcache.storage.feature_file import ROWS
from tests.corpus.cache_changes import (
    all_values,
    bomb,
    bytes_changed,
    flipped,
    many_rows,
    maps,
    metadata,
    numbers,
    packed,
    replaced,
    rewritten,
    row,
    rows_of,
    sealed_by_hand,
    settings,
    shaped,
    table,
    typed,
    value_at,
    without_setting,
)
from tests.corpus.kind import Kind

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
            "another text": settings(text="another text"),
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
