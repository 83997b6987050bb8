"""Parts: the unit of work, of commit and of resume of every stage. Knows names, bytes and the store; no stage.

A part is made by anyone, any number of times, and committed once, by conditional create under a name that is a pure
function of its inputs. Whoever comes second finds it there and takes it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dreamcache.core import ids
from dreamcache.core.errors import StorageError
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.sealed_parquet import seal, unseal
from dreamcache.storage.store import relative_to

SCHEMA_VERSION = "synthesis-1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """name: below the output. work: JSON values, all that its maker needs beside the settings."""

    stage: str
    name: str
    work: Mapping[str, Any]


def part_of(stage: str, work: Mapping[str, Any], **decides: Any) -> Part:
    """A sealed Parquet part; its name is the hash of `work` and what else decides its content."""
    named = ids.of_values(f"synthesis-{stage}", work=dict(work), **decides)
    return Part(stage=stage, name=f"{stage}/part-{named}.parquet", work=work)


def missing(output: str, stage: str, parts: Sequence[Part]) -> list[Part]:
    """Those not committed yet, by one listing of the stage's folder."""
    folder = join(output, stage)
    there = {f"{stage}/{relative_to(info.uri, folder)}" for info in store_for(output).list(folder)}
    return [part for part in parts if part.name not in there]


def commit(output: str, part: Part, data: bytes) -> bool:
    """True if this call's bytes are the part's; False if it was there already."""
    return store_for(output).create(join(output, part.name), data)


def to_bytes(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, **metadata: str) -> bytes:
    """Rows as a sealed Parquet file."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    return seal(table, {"dreamcache.schema": SCHEMA_VERSION, **metadata})


def read_part(output: str, name: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows and metadata. Raises StorageError `bad_part` when it is damaged, `missing_part` when it is gone."""
    uri = join(output, name)
    try:
        table, metadata = unseal(store_for(output).read(uri))
        if metadata.get("dreamcache.schema") != SCHEMA_VERSION:
            raise ValueError(f"has schema {metadata.get('dreamcache.schema')}, not {SCHEMA_VERSION}")
    except FileNotFoundError as error:
        raise StorageError(
            f"{uri}: a part of the stage before must be there, got none; run the same command again",
            code="missing_part",
        ) from error
    except ValueError as error:
        raise StorageError(
            f"{uri}: a sound part is needed, got one that {error}; delete it, and the same command makes it again",
            code="bad_part",
        ) from error
    return table.to_pylist(), dict(metadata)
