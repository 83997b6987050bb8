"""A plan's rows as Parquet parts in a folder of this machine, which goes away with the object.

    tables of any size --append--> part-00000.parquet, part-00001.parquet .. of PART_ROWS rows --table--> memory

A plan of ten million rows is never in memory at once. Knows Arrow and a temporary folder (`TMPDIR`); knows
nothing of what the rows mean.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core.errors import StorageError
from dreamcache.storage.arrow import DAMAGE
from dreamcache.storage.local import NO_SPACE

PART_ROWS = 100_000


class PlanFiles:
    """Rows in the order in which they were appended; `close` before reading."""

    def __init__(self, schema: pa.Schema, *, plain: Sequence[str] = (), part_rows: int = PART_ROWS) -> None:
        """plain: columns whose values hardly repeat, such as hashes; a dictionary of them is wasted work."""
        self.schema = schema
        self.part_rows = part_rows
        self.folder = Path(tempfile.mkdtemp(prefix="dreamcache-plan-"))
        self.num_rows = 0
        self._repeating = [name for name in schema.names if name not in plain]
        self._waiting: list[pa.Table] = []
        self._clean = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._num_parts = 0

    def append(self, table: pa.Table) -> None:
        """Takes rows of `schema`; writes a part whenever there are enough for one."""
        self.num_rows += table.num_rows
        self._waiting.append(table)
        while sum(waiting.num_rows for waiting in self._waiting) >= self.part_rows:
            whole = pa.concat_tables(self._waiting)
            self._write(whole.slice(0, self.part_rows))
            self._waiting = [whole.slice(self.part_rows)]

    def close(self) -> None:
        """Writes the remaining rows. There is always one part, so that an empty plan has its columns too."""
        remaining = pa.concat_tables([self.schema.empty_table(), *self._waiting])
        if remaining.num_rows or not self._num_parts:
            self._write(remaining)
        self._waiting = []

    @property
    def paths(self) -> list[Path]:
        """The parts, in order."""
        return [self.folder / f"part-{number:05d}.parquet" for number in range(self._num_parts)]

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One table a part."""
        for path in self.paths:
            with _in_its_folder(path, "read"):
                table = pq.read_table(path, columns=list(columns) if columns else None, partitioning=None)
            yield table

    def _write(self, table: pa.Table) -> None:
        path = self.folder / f"part-{self._num_parts:05d}.parquet"
        with _in_its_folder(path, "written"):
            pq.write_table(table, path, compression="zstd", use_dictionary=self._repeating)
        self._num_parts += 1


@contextmanager
def _in_its_folder(path: Path, action: str) -> Iterator[None]:
    """A full or damaged disk of this machine ends the plan with a word for where to look."""
    try:
        yield
    except DAMAGE as error:
        is_full = isinstance(error, OSError) and error.errno in NO_SPACE
        raise StorageError(
            f"{path}: the plan must be {action} in the folder for temporary files, got {type(error).__name__}: "
            f"{error}; free some space there, or set TMPDIR to another disk",
            code="no_space" if is_full else "bad_part",
        ) from error
