"""Checkpoints beside the steps: the state of their step, one at a time, and a failed write ends the training."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from dreamcache.core.errors import StorageError
from dreamcache.storage.s3 import split_s3
from dreamcache.storage.s3_client import client
from dreamcache.training.checkpoint_writer import CheckpointWriter
from dreamcache.training.checkpoints import Checkpoint, TrainFolder
from dreamcache.training.loop import TrainLoop
from tests.training.trainers import MakeTrainer

COURSE = {"seed": 0}


class SlowFolder(TrainFolder):
    """Waits for `go` before it stores."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.go, self.threads = threading.Event(), set[str]()

    def save(self, *arguments: Any, **options: Any) -> None:
        self.threads.add(threading.current_thread().name)
        assert self.go.wait(30)
        super().save(*arguments, **options)


def test_what_is_stored_is_the_state_of_its_step(tmp_path: Path) -> None:
    folder, weight = SlowFolder(str(tmp_path)), torch.zeros(3)
    with CheckpointWriter(folder, COURSE, keep=2) as writer:
        writer.start(Checkpoint(step=1, tensors={"weight": weight}))
        weight += 1  # the next step, while the thread waits
        writer.check()
        assert folder.newest(COURSE) is None
        folder.go.set()
        writer.start(Checkpoint(step=2, tensors={"weight": weight}))
        before = folder.newest(COURSE)
        assert before is not None and before.step >= 1, "the one before is complete before the next begins"
    after = folder.newest(COURSE)
    assert after is not None and after.step == 2 and after.tensors["weight"].tolist() == [1, 1, 1]
    data = (tmp_path / "checkpoints" / "step-0000001.safetensors").read_bytes()
    assert load(data)["weight"].tolist() == [0, 0, 0]
    assert all(name.startswith("dreamcache-checkpoint") for name in folder.threads)


def test_an_error_of_the_training_lets_the_checkpoint_end(tmp_path: Path) -> None:
    folder = SlowFolder(str(tmp_path))
    threading.Timer(0.2, folder.go.set).start()

    def train() -> None:
        with CheckpointWriter(folder, COURSE, keep=2) as writer:
            writer.start(Checkpoint(step=1, tensors={"weight": torch.zeros(1)}))
            raise ValueError("of the step")

    with pytest.raises(ValueError, match="of the step"):
        train()
    assert folder.newest(COURSE) is not None


def test_a_failed_write_ends_the_training_with_its_code(make: MakeTrainer, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder must be")
    loop = TrainLoop(make(steps=60), TrainFolder(str(tmp_path)), name="t")
    with pytest.raises(StorageError) as error:
        loop.run()
    assert error.value.code == "read_only"
    assert loop.trainer.step < 60, "it ends at the next step or checkpoint, not after the last"


def test_a_full_temporary_folder_is_an_error_of_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/full-of-nothing")
    with pytest.raises(StorageError, match="set TMPDIR"):
        TrainFolder(str(tmp_path)).save(Checkpoint(step=1, tensors={"a": torch.zeros(1)}), COURSE, keep=1)


def test_a_large_checkpoint_travels_to_s3_in_parts(bucket: str) -> None:
    folder = TrainFolder(f"{bucket}/training")
    tensors = {"weight": torch.arange(5_000_000, dtype=torch.float32)}
    folder.save(Checkpoint(step=1, tensors=tensors), COURSE, keep=1)
    name, key = split_s3(folder.at("checkpoints", "step-0000001.safetensors"))
    assert client().head_object(Bucket=name, Key=key)["ETag"].strip('"').endswith("-3"), (
        "three parts of 8 MiB"
    )
    stored = folder.newest(COURSE)
    assert stored is not None and torch.equal(stored.tensors["weight"], tensors["weight"])
