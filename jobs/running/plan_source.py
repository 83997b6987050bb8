"""The pipeline's source: a Ray Data datasource with a task for each window of the plan, one at a time.

    Windows --(driver, when there is room)--> WindowShelf <--take-- a read task a window --> a block a batch

The pipeline, with its actors and their models, lives as long as there are windows. Source tasks and shelf run on the
driver's own node: they are lost only with the run. Knows Ray Data; never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pyarrow as pa
import ray
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from jobs.running.ray_data import beside_the_driver
from jobs.running.windows import Windows
from workers.batches import packed
from workers.windows import WindowShelf, read_batches


class PlanSource:
    """Hands windows out to one pipeline. batches_of: cuts a window into batches. The first windows go at once."""

    def __init__(self, windows: Windows, batches_of: Callable[[pa.Table], list[pa.Table]]) -> None:
        self._windows, self._batches_of = windows, batches_of
        self._num_windows = windows.num_to_come
        self._num_fed = 0
        self._shelf: Any = ray.remote(**beside_the_driver())(WindowShelf).remote()
        self.num_batches = 0
        """That are handed out so far."""
        self.feed()

    def feed(self) -> None:
        """Hands out the windows for which there is room now."""
        for rows in self._windows.due():
            batches = self._batches_of(rows)
            self.num_batches += len(batches)
            # Not waited for: the workers start meanwhile. Without the shelf, the tasks that take from it fail.
            self._shelf.put.remote(self._num_fed, packed(batches))
            self._num_fed += 1
        if not self._windows.num_to_come:
            self._shelf.end.remote(self._num_fed)

    def close(self) -> None:
        """Ends the shelf; without this it would live until Python collects its handle."""
        with suppress(Exception):  # the cluster may be gone
            ray.kill(self._shelf)

    def dataset(self) -> ray.data.Dataset:
        """Blocks as `batches.packed`, a row each."""
        context = DataContext.get_current().copy()
        # Every row is a block of its own: Ray Data closes a block that is larger than this.
        context.target_max_block_size = 1
        with DataContext.current(context):
            dataset: ray.data.Dataset = ray.data.read_datasource(
                _Shelved(self._shelf, self._num_windows),
                concurrency=1,
                override_num_blocks=self._num_windows,
                ray_remote_args=beside_the_driver(),
            )
        return dataset


class _Shelved(Datasource):
    """Windows that are on the shelf, or will be."""

    def __init__(self, shelf: Any, num_windows: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shelf, self._num_windows = shelf, num_windows

    def get_name(self) -> str:
        return "PlanWindows"

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One for each window."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [
            ReadTask(partial(read_batches, self._shelf, number), unknown)
            for number in range(self._num_windows)
        ]

    def estimate_inmemory_data_size(self) -> int | None:
        return None
