"""Which images of a job were deleted on purpose: the records up to an attempt count no more.

    announce --> ledger/pruned-<hash>.parquet --> delete the images --> finish --> ledger/pruned-<hash>.finished

Announced first, deleted after, so that the ledger never claims an image that is gone. `attempts` is set so high
that what a driver records which counted attempts before the announcement is void too: it may describe the
deleted image. A later run counts on from there. A crash leaves an announcement that is not finished; until it
is, nobody may draw its items again, since the deleting may still go on.

Knows the announcements; not why items are pruned, nor what a record says.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from dreamcache.core import ids
from dreamcache.core.errors import StorageError
from dreamcache.storage.open_store import store_for
from dreamcache.storage.sealed_parquet import seal, unseal
from dreamcache.storage.store import join

SCHEMA_VERSION = "dreamcache.pruned/1"
SCHEMA = pa.schema([
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("key", pa.string(), nullable=False),
    pa.field("attempts", pa.int32(), nullable=False),
])  # fmt: skip
PREFIX, SUFFIX, FINISHED = "pruned-", ".parquet", ".finished"
MARGIN = 100
"""More attempts than drivers at work can have made of an item since the announcement was prepared."""


class Pruned:
    """The announcements below one job's output. Picklable. StorageError when the place cannot be used."""

    def __init__(self, output_uri: str) -> None:
        self.output_uri = output_uri
        self.uri = join(output_uri, "ledger")
        self._store = store_for(output_uri)

    def announce(self, images: pa.Table) -> str:
        """The records of these images count no more. images: item_id, key and attempts made so far, by item."""
        table = pa.table(
            [
                images["item_id"],
                images["key"],
                pa.array([n + MARGIN for n in images["attempts"].to_pylist()], pa.int32()),
            ],
            schema=SCHEMA,
        )
        data = seal(table, {"dreamcache.schema": SCHEMA_VERSION})
        uri = join(self.uri, f"{PREFIX}{ids.of_bytes(data)}{SUFFIX}")
        self._store.create(uri, data)
        return uri

    def finish(self, uri: str) -> None:
        """All images of this announcement are deleted."""
        self._store.create(uri.removesuffix(SUFFIX) + FINISHED, b"")

    def is_finished(self, uri: str) -> bool:
        return self._store.stat(uri.removesuffix(SUFFIX) + FINISHED) is not None

    def unfinished(self) -> list[str]:
        """Announcements whose images may be there or gone."""
        names = self._names()
        ended = {name.removesuffix(FINISHED) for name in names if name.endswith(FINISHED)}
        return [name for name in names if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) not in ended]

    def read(self, uri: str) -> pa.Table:
        """item_id, key and the last attempt that counts no more. StorageError (`bad_ledger`) when damaged."""
        try:
            table, metadata = unseal(self._store.read(uri))
            if metadata.get("dreamcache.schema") != SCHEMA_VERSION or not table.schema.equals(SCHEMA):
                raise ValueError(f"schema must be {SCHEMA_VERSION}, got {metadata.get('dreamcache.schema')}")
        except (ValueError, FileNotFoundError) as error:
            raise StorageError(
                f"{uri}: a sound list of pruned images is needed, got one that {error}; restore it from a copy",
                code="bad_ledger",
            ) from error
        return table

    def limits(self) -> Mapping[str, int]:
        """The last attempt that counts no more, by item. In memory: some hundred bytes for each pruned item."""
        found: dict[str, int] = {}
        for uri in self._names():
            if uri.endswith(SUFFIX):
                table = self.read(uri)
                for item_id, attempts in zip(
                    table["item_id"].to_pylist(), table["attempts"].to_pylist(), strict=True
                ):
                    found[item_id] = max(attempts, found.get(item_id, -1))
        return found

    def _names(self) -> list[str]:
        listed = (info.uri for info in self._store.list(self.uri))
        return sorted(uri for uri in listed if uri.rsplit("/", 1)[-1].startswith(PREFIX))
