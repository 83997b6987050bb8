"""Checkpoints written beside the steps: a copy of the state is taken, and a thread stores it while training continues.

    state after a step --copied--> thread: tensors, then latest.json     the next waits until the one before is stored

A failed write ends the training with the write's own error, at the next step. Knows when; `checkpoints` knows how.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from dreamcache.training.checkpoints import Checkpoint, TrainFolder

Json = Mapping[str, object]


class CheckpointWriter:
    """Stores one checkpoint at a time. As a context manager it waits for the last one, and raises its error."""

    def __init__(self, folder: TrainFolder, course: Json, *, keep: int) -> None:
        """course, keep: see `TrainFolder.save`."""
        self._folder, self._course, self._keep = folder, course, keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dreamcache-checkpoint")
        self._pending: Future[None] | None = None

    def start(self, checkpoint: Checkpoint) -> None:
        """Begins to store the state as it is now. Waits for the checkpoint before, and raises its StorageError."""
        self.wait()
        copy = Checkpoint(
            step=checkpoint.step,
            tensors={name: _copied(value) for name, value in checkpoint.tensors.items()},
        )
        self._pending = self._thread.submit(self._folder.save, copy, self._course, keep=self._keep)

    def check(self) -> None:
        """Raises the StorageError of a write that has failed; does not wait."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Until what was begun is stored. Raises StorageError where it cannot be."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            # After an error, too, the checkpoint that is being written is finished: it is the newest.
            self._thread.shutdown(wait=True)


def _copied(value: torch.Tensor) -> torch.Tensor:
    """On the CPU, apart from the tensor that the next step changes."""
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
