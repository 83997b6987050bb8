"""Where a training reports its progress besides its own files: TensorBoard, and the hooks of a user.

A hook is anything with these three methods; `package.module:name` in the training file names a function that takes the
output folder's URI and returns one. Hooks run on the first worker only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from dreamcache.core.errors import SpecError
from dreamcache.core.locations import is_object
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import join, open_store


class Hook(Protocol):
    """Receives numbers and pictures; `flush` follows every checkpoint and the end."""

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers by name, e.g. "train/loss", "validation/right/300"."""

    def on_image(self, step: int, name: str, image: Image.Image) -> None:
        """A picture, e.g. a grid of samples."""

    def flush(self) -> None:
        """Makes what was received so far readable."""


class TensorBoardHook:
    """Event files in <output>/tensorboard; in a store of objects by way of a local folder, uploaded by `flush`."""

    def __init__(self, output: str) -> None:
        from tensorboardX import SummaryWriter

        self.target = join(output, "tensorboard")
        self.remote = is_object(output)
        self._temporary = tempfile.TemporaryDirectory(prefix="dreamcache-tb-") if self.remote else None
        self.folder = Path(self._temporary.name) if self._temporary else local_path(self.target)
        self.writer = SummaryWriter(str(self.folder))

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def on_image(self, step: int, name: str, image: Image.Image) -> None:
        self.writer.add_image(name, np.asarray(image), step, dataformats="HWC")

    def flush(self) -> None:
        self.writer.flush()
        if self.remote:
            for file in self.folder.iterdir():
                open_store(self.target).upload(file.name, file)


def load_hooks(names: Iterable[str], output: str) -> list[Hook]:
    """Hooks by name: "tensorboard", or "package.module:function". Raises SpecError for one that cannot be imported."""
    hooks: list[Hook] = []
    for name in names:
        if name == "tensorboard":
            hooks.append(TensorBoardHook(output))
            continue
        module, _, function = name.partition(":")
        try:
            hooks.append(getattr(import_module(module), function)(output))
        except (ImportError, AttributeError, ValueError) as error:
            raise SpecError(
                f"hooks: '{name}': must be 'tensorboard' or an importable 'package.module:function', got: {error}"
            ) from error
    return hooks
