"""Parts: the unit of work, of commit and of resume of every stage. Knows names, bytes and the store; no stage.

A part is produced by anyone, any number of times, and committed once, by conditional create under a name that is a pure
function of its inputs. Whoever comes second finds it there and uses it as it is. A stage's parts are a `part_log`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dreamcache.core import ids
from dreamcache.core.errors import StorageError
from dreamcache.storage.open_store import open_store
from dreamcache.storage.part_log import LogSettings, PartFormat, PartLog
from dreamcache.storage.store import join

PARTS_LOG = LogSettings(
    format=PartFormat(family="synthesis-", number=1, schema=None),
    what="a part",
    code="bad_part",
    remedy="delete it, and the same command produces it again",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePart:
    """name: below the output. work: JSON values, all that the worker needs beside the settings."""

    stage: str
    name: str
    work: Mapping[str, Any]


def part_of(stage: str, work: Mapping[str, Any], **decides: Any) -> StagePart:
    """A sealed Parquet part; its name is the hash of `work` and what else decides its content."""
    named = ids.of_values(f"synthesis-{stage}", work=dict(work), **decides)
    return StagePart(stage=stage, name=f"{stage}/part-{named}.parquet", work=work)


def missing(output: str, stage: str, parts: Sequence[StagePart]) -> list[StagePart]:
    """Those not committed yet, by one listing of the stage's folder."""
    store = open_store(output)
    committed = {store.key_of(info.uri) for info in store.list(stage)}
    return [part for part in parts if part.name not in committed]


def commit(output: str, part: StagePart, data: bytes) -> bool:
    """True if this call's bytes are the part's; False if it was there already."""
    return open_store(output).create(part.name, data)


def to_bytes(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, **metadata: str) -> bytes:
    """Rows as a sealed Parquet file."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    return PARTS_LOG.format.seal(table, **metadata)


def read_part(output: str, name: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows and metadata. Raises StorageError `bad_part` when it is damaged, `missing_part` when it is gone."""
    uri = join(output, name)
    folder = PartLog(uri.rpartition("/")[0], PARTS_LOG)
    try:
        table, metadata = folder.read_with_metadata(uri)
    except FileNotFoundError as error:
        raise StorageError(
            f"{uri}: a part of the stage before must be there, got none; run the same command again",
            code="missing_part",
        ) from error
    return table.to_pylist(), dict(metadata)
