"""Compaction: many small parts of a log become one, while others append, read and compact.

    64 x part-<hash> -> part-g1-<hash>,  64 x part-g1-<hash> -> part-g2-<hash>,  which stays as it is

The protocol. A part is never changed. A compactor

    1. lists the parts and reads some of one level, its sources; one that is gone by then it leaves out,
    2. creates the merged part, named by the hash of its bytes, by conditional write,
    3. and only then deletes the sources it has read.

What holds, after every step and after a crash between any two: each record that was appended is in some part.
A compactor deletes a part only after it has seen a part with all its records, and that part obeys the same rule.
A crash between 2 and 3 leaves records in two parts, which resolve to one; the next compactor merges the
rest. Two compactors with the same sources create the same part, with overlapping ones two parts that overlap.
Merging drops a record only for another with the same item, attempt and end. A compactor that continues after a long
halt therefore deletes nothing that is nowhere else.

Readers. A listing takes time, and the store promises only that of a part created before another was deleted,
and named after it, one is seen (`Store.list`). Merged parts are named to come later: hex digits are before `g`, and
`g1` before `g2`. A listing therefore misses no record: while it passes the names, some part that holds the record is
always still ahead, or was seen. A reader that finds a listed part gone lists again; what it has read stays true.

Knows parts and their names; not which rows matter: each log states how its rows become one table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import pyarrow as pa

from dreamcache.core import ids
from dreamcache.storage.ledger import Ledger, distinct_table
from dreamcache.storage.part_log import PartLog, name_of
from dreamcache.storage.store import ObjectInfo

FAN = 64
LEVELS = 2
MAX_BYTES = 32 * 1024 * 1024
"""Of a merge's sources together: they must fit into memory. Larger parts stay as they are."""


def compact(ledger: Ledger, *, fan: int = FAN, is_wanted: Callable[[], bool] = lambda: True) -> int:
    """`compact_log` of a ledger. StorageError `bad_ledger` when a part is damaged."""
    return compact_log(ledger.log, distinct_table, fan=fan, is_wanted=is_wanted)


def compact_log(
    log: PartLog,
    combine: Callable[[Iterable[pa.Table]], pa.Table],
    *,
    fan: int = FAN,
    is_wanted: Callable[[], bool] = lambda: True,
) -> int:
    """Merges each `fan` small parts into one; returns the number of parts that are no more. Safe at any time.

    combine: the rows of several parts. is_wanted: called before each merge; the first False is the end.

    StorageError with the log's code when a part is damaged, others when storage fails; nothing is lost then.
    """
    fewer, prefix = 0, log.settings.prefix
    for level in range(LEVELS):
        for sources in _groups([info for info in log.parts() if level_of(info.uri, prefix) == level], fan):
            if not is_wanted():
                return fewer
            fewer += log.merge(sources, combine, partial(merged_name, level=level + 1, prefix=prefix))
    return fewer


def level_of(uri: str, prefix: str = "part-") -> int:
    """How often the rows of a part were merged. prefix: of the log's names."""
    name = name_of(uri).removeprefix(prefix)
    return int(name[1]) if name.startswith("g") else 0


def merged_name(data: bytes, level: int, prefix: str = "part-") -> str:
    """The name of a merged part: the same bytes have one name, which is listed after those of its sources."""
    return f"{prefix}g{level}-{ids.of_bytes(data)}.parquet"


def _groups(parts: list[ObjectInfo], fan: int) -> Iterator[list[str]]:
    """Parts to be merged with each other; the remaining ones wait for more."""
    group: list[str] = []
    num_bytes = 0
    for info in parts:
        if info.num_bytes > MAX_BYTES // 2:
            continue
        group.append(info.uri)
        num_bytes += info.num_bytes
        if len(group) == fan or num_bytes > MAX_BYTES // 2:
            if len(group) > 1:
                yield group
            group, num_bytes = [], 0
