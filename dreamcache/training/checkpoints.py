"""A training's output folder: checkpoints, curves and status, on a local disk or s3://.

    <output>/train.yaml  status.json  curves.json  samples/  tensorboard/  adapter/
             checkpoints/step-0000500.safetensors   checkpoints/latest.json      # names the newest, written last

A checkpoint is whole or not there. It holds tensors only: whatever is random depends on the step (see `dataset`).
Knows names and order of writing; knows nothing of how tensors came to be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.errors import ModelError
from dreamcache.storage.open_store import join, store_for

LATEST = "latest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The newest state of a training after `step` steps."""

    step: int
    tensors: Mapping[str, Tensor]


class TrainFolder:
    """Reads and writes one training's output. Raises StorageError when the place cannot be used."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.store = store_for(self.uri)

    def at(self, *parts: str) -> str:
        return join(self.uri, *parts)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        self.store.write(self.at(name), (json.dumps(value, indent=1, default=str) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The file's object, or None when there is none."""
        try:
            return dict(json.loads(self.store.read(self.at(name))))
        except FileNotFoundError:
            return None

    def save(self, checkpoint: Checkpoint, course: Mapping[str, Any], *, keep: int) -> None:
        """Tensors first, then latest.json; then all but the newest `keep` checkpoints are deleted."""
        name = f"step-{checkpoint.step:07d}.safetensors"
        data = save({key: value.contiguous().cpu() for key, value in checkpoint.tensors.items()})
        self.store.write(self.at("checkpoints", name), data)
        held = (self.read_json(f"checkpoints/{LATEST}") or {}).get("files", [])
        files = [*(file for file in held if file < name), name]
        self.write_json(
            f"checkpoints/{LATEST}",
            {
                "step": checkpoint.step,
                "file": name,
                "sha256": ids.of_bytes(data),
                "files": files[-keep:],
                "course": dict(course),
            },
        )
        for old in {*held, *files} - set(files[-keep:]):
            self.store.delete(self.at("checkpoints", old))

    def newest(
        self, course: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> Checkpoint | None:
        """The newest checkpoint, None when there is none.

        defaults: of settings that the release which wrote the checkpoint may not have known. Raises ModelError when
        it is damaged, or when another training, named by its settings, wrote it.
        """
        found = self.read_json(f"checkpoints/{LATEST}")
        if found is None:
            return None
        held = {**(defaults or {}), **found["course"]}
        self._check_course(json.loads(json.dumps(held)), json.loads(json.dumps(course)))
        data = self.store.read(self.at("checkpoints", found["file"]))
        if ids.of_bytes(data) != found["sha256"]:
            raise ModelError(
                f"checkpoint '{self.at('checkpoints', found['file'])}': is damaged, its checksum differs; name an "
                f"earlier one in {LATEST}, or delete the folder to start again"
            )
        return Checkpoint(step=int(found["step"]), tensors=load(data))

    def _check_course(self, held: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        other = sorted(name for name in {*held, *ours} if held.get(name) != ours.get(name))
        if other:
            name = other[0]
            raise ModelError(
                f"output '{self.uri}': holds checkpoints of a training with other settings: {name} was "
                f"{held.get(name)!r}, is {ours.get(name)!r}"
                + (f", and {len(other) - 1} more" if other[1:] else "")
                + "; choose another output, or set it back to go on",
                code="other_training",
            )
