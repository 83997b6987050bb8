"""A training's output folder: checkpoints, curves and status, on a local disk or s3://.

    <output>/train.yaml  status.json  curves.json  samples/  tensorboard/  adapter/
             checkpoints/step-0000500.safetensors   checkpoints/latest.json      # names the newest, written last

A checkpoint is complete or absent. It holds tensors only: everything random follows from the step (see `dataset`).
Knows names and the order of writing; knows nothing of what the tensors are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from safetensors.torch import load, save
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.errors import ModelError, StorageError
from dreamcache.storage.open_store import join, store_for

LATEST = "latest.json"

Json = Mapping[str, object]


class _Latest(TypedDict):
    """latest.json. files: of the stored checkpoints; course: the settings that decide the weights."""

    step: int
    file: str
    sha256: str
    files: list[str]
    course: dict[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The newest state of a training after `step` steps."""

    step: int
    tensors: Mapping[str, Tensor]


class TrainFolder:
    """Reads and writes one training's output. Raises StorageError when the location cannot be used."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.store = store_for(self.uri)

    def at(self, *parts: str) -> str:
        return join(self.uri, *parts)

    def write_json(self, name: str, value: Json) -> None:
        self.store.write(self.at(name), (json.dumps(value, indent=1, default=str) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The file's object, or None when there is none."""
        try:
            return dict(json.loads(self.store.read(self.at(name))))
        except FileNotFoundError:
            return None

    def save(self, checkpoint: Checkpoint, course: Json, *, keep: int) -> None:
        """Tensors first, then latest.json; then all but the newest `keep` checkpoints are deleted."""
        name = f"step-{checkpoint.step:07d}.safetensors"
        data = save({key: value.contiguous().cpu() for key, value in checkpoint.tensors.items()})
        self.store.write(self.at("checkpoints", name), data)
        before = self._latest()
        stored = before["files"] if before is not None else []
        files = [*(file for file in stored if file < name), name]
        latest = _Latest(
            step=checkpoint.step,
            file=name,
            sha256=ids.of_bytes(data),
            files=files[-keep:],
            course=dict(course),
        )
        self.write_json(f"checkpoints/{LATEST}", cast(Json, latest))
        for old in {*stored, *files} - set(files[-keep:]):
            with suppress(StorageError):  # of a role that may not delete: it takes space, no more
                self.store.delete(self.at("checkpoints", old))

    def newest(self, course: Json, defaults: Json | None = None) -> Checkpoint | None:
        """The newest checkpoint, None when there is none.

        defaults: of settings that the release which wrote the checkpoint may not have known. Raises ModelError when
        it is damaged, or when a training with other settings wrote it.
        """
        latest = self._latest()
        if latest is None:
            return None
        stored = {**(defaults or {}), **latest["course"]}
        self._check_course(json.loads(json.dumps(stored)), json.loads(json.dumps(course)))
        data = self.store.read(self.at("checkpoints", latest["file"]))
        if ids.of_bytes(data) != latest["sha256"]:
            raise ModelError(
                f"checkpoint '{self.at('checkpoints', latest['file'])}': is damaged, its checksum differs; name an "
                f"earlier one in {LATEST}, or delete the folder to start again"
            )
        return Checkpoint(step=int(latest["step"]), tensors=load(data))

    def _latest(self) -> _Latest | None:
        return cast(_Latest | None, self.read_json(f"checkpoints/{LATEST}"))

    def _check_course(self, stored: Json, ours: Json) -> None:
        changed = sorted(name for name in {*stored, *ours} if stored.get(name) != ours.get(name))
        if changed:
            name = changed[0]
            raise ModelError(
                f"output '{self.uri}': holds checkpoints of a training with other settings: {name} was "
                f"{stored.get(name)!r}, is {ours.get(name)!r}"
                + (f", and {len(changed) - 1} more" if changed[1:] else "")
                + "; choose another output, or restore the setting to resume",
                code="other_training",
            )
