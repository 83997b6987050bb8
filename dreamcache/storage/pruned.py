"""Which images of a job were deleted on purpose: the records up to an attempt count no more.

    announce --> ledger/pruned-<hash>.parquet --> delete the images --> finish --> ledger/pruned-<hash>.finished

Announced first, deleted after, so that the ledger never claims an image that is gone. `attempts` is set so high
that what a driver records which counted attempts before the announcement is void too: it may describe the
deleted image. A later run counts on from there. A crash leaves an announcement that is not finished; until it
is finished, nobody may generate its items again, since the deletion may still go on.

Knows the announcements; not why items are pruned, nor what a record says.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core import ids
from dreamcache.core.errors import StorageError
from dreamcache.storage.item_keys import wrong_key
from dreamcache.storage.part_log import SUFFIX, LogSettings, PartFormat, PartLog, name_of
from dreamcache.storage.store import join

SCHEMA = pa.schema([
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("key", pa.string(), nullable=False),
    pa.field("attempts", pa.int32(), nullable=False),
])  # fmt: skip
FINISHED = ".finished"
MAX_ATTEMPTS = 1_000_000
"""Of a record: more are no count but a damaged file, and one more of them would be no int32."""


def counts_attempts(table: pa.Table, most: int = MAX_ATTEMPTS) -> bool:
    """Whether `attempts` of each row is a count, of at most `most`."""
    numbers = table["attempts"]
    is_count = pc.and_(pc.greater_equal(numbers, 0), pc.less_equal(numbers, most))
    return pc.all(is_count).as_py() is not False


def wrong_announcement(table: pa.Table) -> str | None:
    """What is wrong with a list's rows, after "one that ..."; None if all are right."""
    if not counts_attempts(table, MAX_ATTEMPTS + MARGIN):
        return f"has a number of attempts that is not 0 to {MAX_ATTEMPTS + MARGIN:,}"
    return wrong_key(table)


PRUNED_LOG = LogSettings(
    format=PartFormat(family="dreamcache.pruned/", number=1, schema=SCHEMA),
    what="a list of pruned images",
    code="bad_ledger",
    remedy="restore it from a copy",
    prefix="pruned-",
    problem=wrong_announcement,
)
MARGIN = 100
"""More attempts than running drivers can have spent on an item since the announcement was prepared."""


class Pruned:
    """The announcements below one job's output. Picklable. StorageError when the location cannot be used."""

    def __init__(self, output_uri: str) -> None:
        self.output_uri = output_uri
        self.log = PartLog(join(output_uri, "ledger"), PRUNED_LOG)

    def announce(self, images: pa.Table) -> str:
        """The records of these images count no more; returns the announcement's URI.

        images: item_id, key and the number of attempts so far, by item.
        """
        table = pa.table(
            [
                images["item_id"],
                images["key"],
                pa.array([n + MARGIN for n in images["attempts"].to_pylist()], pa.int32()),
            ],
            schema=SCHEMA,
        )
        return self.log.append(ids.of_bytes(PRUNED_LOG.format.seal(table)), table)

    def finish(self, uri: str) -> None:
        """All images of this announcement are deleted."""
        self.log.store.create(_finished_name(uri), b"")

    def is_finished(self, uri: str) -> bool:
        return self.log.store.stat(_finished_name(uri)) is not None

    def unfinished(self) -> list[str]:
        """Announcements whose images may be there or gone."""
        listed = list(self.log.store.list())
        names = {name_of(info.uri) for info in listed}
        return [info.uri for info in self.log.parts_among(listed) if _finished_name(info.uri) not in names]

    def read(self, uri: str) -> pa.Table:
        """item_id, key and the last attempt that counts no more. StorageError `bad_ledger` when damaged or gone."""
        table = self.log.read(uri)
        if table is None:
            raise StorageError(
                f"{uri}: {PRUNED_LOG.what} is needed where it was listed, got none; {PRUNED_LOG.remedy}",
                code=PRUNED_LOG.code,
            )
        return table

    def limits(self) -> Mapping[str, int]:
        """The last attempt that counts no more, by item. In memory: some hundred bytes for each pruned item."""
        limits: dict[str, int] = {}
        for table in self.log.scan():
            pairs = zip(table["item_id"].to_pylist(), table["attempts"].to_pylist(), strict=True)
            for item_id, attempts in pairs:
                limits[item_id] = max(attempts, limits.get(item_id, -1))
        return limits


def _finished_name(uri: str) -> str:
    return name_of(uri).removesuffix(SUFFIX) + FINISHED
