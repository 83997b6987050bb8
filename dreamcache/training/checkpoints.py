"""A training's output folder: checkpoints, curves and status, on a local disk or s3://.

    <output>/train.yaml  status.json  curves.json  samples/  tensorboard/  adapter/
             checkpoints/step-0000500.safetensors   checkpoints/latest.json      # names the newest, written last

A checkpoint is complete or absent. It holds tensors only: everything random follows from the step (see `dataset`).
Knows names and the order of writing; knows nothing of what the tensors are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from dreamcache.core import ids
from dreamcache.core.errors import ModelError, StorageError
from dreamcache.core.texts import shown
from dreamcache.storage.json_object import parse_object
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.temporary import temporary_folder

LATEST = "latest.json"
STEP_FILE = re.compile(r"step-\d{7,}\.safetensors")
"""Of a checkpoint."""

ORDER = "data.order"
"""In the course: the version of the order in which samples are read, which no setting changes."""

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
        """The file's object, or None when there is none. Raises ModelError for a damaged file."""
        try:
            return parse_object(self.store.read(self.at(name)))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise _damaged(self.at(name), str(error)) from error

    def save(self, checkpoint: Checkpoint, course: Json, *, keep: int) -> None:
        """Tensors first, then latest.json; then all but the newest `keep` checkpoints are deleted."""
        name = f"step-{checkpoint.step:07d}.safetensors"
        sha256 = self._upload(self.at("checkpoints", name), checkpoint.tensors)
        before = self._latest()
        stored = before["files"] if before is not None else []
        files = [*(file for file in stored if file < name), name]
        latest = _Latest(
            step=checkpoint.step,
            file=name,
            sha256=sha256,
            files=files[-keep:],
            course=dict(course),
        )
        self.write_json(f"checkpoints/{LATEST}", cast(Json, latest))
        for old in {*stored, *files} - set(files[-keep:]):
            with suppress(StorageError):  # of a role that may not delete: it takes space, no more
                self.store.delete(self.at("checkpoints", old))

    def _upload(self, uri: str, tensors: Mapping[str, Tensor]) -> str:
        """The file's sha256. By way of a file: one object of bytes is limited on S3, and would be held twice."""
        try:
            with temporary_folder("checkpoint") as folder:
                path = folder / "checkpoint.safetensors"
                save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, path)
                with path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                self.store.upload(uri, path)
        except (SafetensorError, OSError) as error:
            raise StorageError(
                f"{uri}: is written by way of a temporary folder, which must have room for it, got '{error}'; free "
                f"some space, or set TMPDIR to another folder",
                code="no_space" if "No space left" in str(error) else "io_error",
            ) from error
        return sha256

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
        try:
            data = self.store.read(self.at("checkpoints", latest["file"]))
        except FileNotFoundError as error:
            raise _damaged(
                self.at("checkpoints", LATEST), f"names '{latest['file']}', which is missing"
            ) from error
        if ids.of_bytes(data) != latest["sha256"]:
            raise ModelError(
                f"checkpoint '{self.at('checkpoints', latest['file'])}': is damaged, its checksum differs; name an "
                f"earlier one in {LATEST}, or delete the folder to start again"
            )
        try:
            return Checkpoint(step=int(latest["step"]), tensors=load(data))
        except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise _damaged(self.at("checkpoints", latest["file"]), f"holds no tensors ({error})") from error

    def _latest(self) -> _Latest | None:
        """latest.json, checked: its names are those that `save` gives, so none leads out of the folder."""
        latest = self.read_json(f"checkpoints/{LATEST}")
        if latest is None:
            return None
        names = [latest.get("file"), *_list_of(latest.get("files"))]
        wrong_name = next((n for n in names if not isinstance(n, str) or not STEP_FILE.fullmatch(n)), None)
        if wrong_name is not None:
            # These files are read and deleted, and whoever can write to the folder can name others.
            raise ModelError(
                f"{self.at('checkpoints', LATEST)}: must name files step-<number>.safetensors, got "
                f"{shown(wrong_name)}; dreamcache did not write it: restore it, or choose another output",
                code="unsafe_name",
            )
        rules = {
            "step": isinstance(latest.get("step"), int) and latest["step"] >= 0,
            "file": "file" in latest and "files" in latest,
            "sha256": isinstance(latest.get("sha256"), str),
            "course": isinstance(latest.get("course"), dict),
        }
        wrong = [name for name, holds in rules.items() if not holds]
        if wrong:
            raise _damaged(self.at("checkpoints", LATEST), f"lacks or misstates {wrong[0]}")
        return cast(_Latest, latest)

    def _check_course(self, stored: Json, ours: Json) -> None:
        changed = sorted(name for name in {*stored, *ours} if stored.get(name) != ours.get(name))
        if changed:
            name = changed[0]
            raise ModelError(
                f"output '{self.uri}': holds checkpoints of a training with other settings: {name} was "
                f"{stored.get(name)!r}, is {ours.get(name)!r}"
                + (f", and {len(changed) - 1} more" if changed[1:] else "")
                + "; choose another output, or "
                + (
                    "finish it with the release that began it"
                    if name == ORDER
                    else "restore the setting to resume"
                ),
                code="other_training",
            )


def _list_of(value: object) -> list[object]:
    """A list as it is; anything else as its one member, which is no name."""
    return value if isinstance(value, list) else [value]


def _damaged(uri: str, got: str) -> ModelError:
    return ModelError(
        f"{uri}: must be what a training wrote, got one that {got}; restore it from a copy, or delete the checkpoints "
        "to start again"
    )
