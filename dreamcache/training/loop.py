"""The loop around a trainer: when losses are logged, samples generated, checkpoints written, and when it validates.

Every process of a team runs the same loop; only the main process writes. Knows clocks and the output folder;
`dreamcache.training.trainer` knows what a step is.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from dreamcache.core.config.train import DataSettings, TrainSettings
from dreamcache.core.texts import one_line
from dreamcache.model.device_errors import is_device_lost
from dreamcache.storage.bounded import TooLarge
from dreamcache.storage.status import State, Status, read_status, write_status
from dreamcache.storage.status import now as status_time
from dreamcache.training.bad_samples import BAD_SAMPLES, MOST_BYTES, bad_samples_csv, listed_bad_samples
from dreamcache.training.checkpoint_writer import CheckpointWriter
from dreamcache.training.checkpoints import ORDER, TrainFolder
from dreamcache.training.curves import Curves
from dreamcache.training.export import TrainingRecord, export_adapter
from dreamcache.training.grid import sample_grid
from dreamcache.training.hooks import Hook
from dreamcache.training.order import FIRST_VERSION
from dreamcache.training.trainer import Step, Trainer

logger = logging.getLogger(__name__)

STATUS_INTERVAL_S = 2.0
START = "model.adapter"
"""In the course: the fingerprint of the adapter that the training begins with, which may lie elsewhere when resumed."""

OnCheckpoint = Callable[[int, Mapping[str, float]], None]
"""on_checkpoint(step, metrics), called by every process when a checkpoint is due; it is stored beside the next steps"""


class TrainLoop:
    """One process's run of a training, from the newest checkpoint to the export."""

    def __init__(
        self,
        trainer: Trainer,
        folder: TrainFolder,
        *,
        name: str,
        hooks: Sequence[Hook] = (),
        on_checkpoint: OnCheckpoint = lambda step, metrics: None,
    ) -> None:
        self.trainer, self.folder, self.name = trainer, folder, name
        self.hooks, self.on_checkpoint = hooks, on_checkpoint
        self.course = {
            **trainer.settings.course(),
            "base": trainer.info.fingerprint,
            "data.samples": trainer.num_samples,
            ORDER: trainer.items.order.version,
            START: trainer.start_fingerprint,
        }
        # What a checkpoint was begun with was not always recorded.
        defaults = {
            **TrainSettings(data=DataSettings(path="")).course(),
            START: trainer.start_fingerprint,
            ORDER: FIRST_VERSION,
        }
        checkpoint = folder.newest(self.course, defaults)
        if checkpoint is not None:
            trainer.resume(checkpoint)
        self.checkpoints = CheckpointWriter(folder, self.course, keep=trainer.settings.every.keep)
        self.curves = Curves.load(folder, trainer.step)
        self.started, self.first, self.last_status = time.monotonic(), trainer.step, 0.0
        self.status = self._first_status()
        self.num_bad = self._recall_bad() if checkpoint is not None else 0
        self.loss: float | None = self.curves.train[-1]["loss"] if self.curves.train else None

    def run(self) -> str | None:
        """Trains to the end and exports. The location of the adapter, or None outside the main process."""
        with self.checkpoints:
            self._train()
        trainer = self.trainer
        if not trainer.team.is_main_process:
            return None
        self.curves.save(self.folder)  # also where no checkpoint was ever due
        location = self._export()
        self._flush()  # also what no checkpoint followed
        self._status("finished", force=True, adapter=location)
        return location

    def _train(self) -> None:
        trainer, every, steps = self.trainer, self.trainer.settings.every, self.trainer.settings.steps
        self._status("running", force=True)
        if trainer.step == 0:
            self._validate()
        losses: list[Tensor] = []
        for done in trainer.steps():
            self.checkpoints.check()
            losses.append(done.loss)
            last = done.step == steps
            if done.step % every.log == 0 or last:
                self._log(done, losses)
                self._list_bad()
                losses = []
            if _due(done.step, every.validate, last):
                self._validate()
            if _due(done.step, every.samples, last):
                self._samples()
            if _due(done.step, every.checkpoint, last):
                self._save()

    def _log(self, done: Step, losses: Sequence[Tensor]) -> None:
        self.loss = self.trainer.mean_loss(losses)
        metrics = {"loss": self.loss, "lr": done.learning_rate, "gradient_norm": float(done.gradient_norm)}
        if not self.trainer.team.is_main_process:
            return
        self.curves.train.append({"step": done.step, **metrics})
        for hook in self.hooks:
            hook.on_metrics(done.step, {f"train/{name}": value for name, value in metrics.items()})
        self._status("running")

    def _list_bad(self) -> None:
        """bad_samples.csv, written anew whenever another sample could not be used."""
        bad = self.trainer.all_bad()
        if not self.trainer.team.is_main_process or len(bad) == self.num_bad:
            return
        self.num_bad = len(bad)
        self.folder.store.write(self.folder.at(BAD_SAMPLES), bad_samples_csv(bad))
        self._status("running", force=True)

    def _recall_bad(self) -> int:
        """Of a training that resumes: bad_samples.csv as it is, of which its limits and the new list are part."""
        if not self.trainer.team.is_main_process:
            return 0
        try:
            data = self.folder.store.read(self.folder.at(BAD_SAMPLES), MOST_BYTES)
        except FileNotFoundError:
            return 0
        except TooLarge as error:
            logger.warning("samples that earlier runs could not use are not counted: %s", error)
            return 0
        return self.trainer.recall_bad(listed_bad_samples(data))

    def _validate(self) -> None:
        if not self.trainer.validation.count or not self.trainer.settings.every.validate:
            return
        points = self.trainer.validate()
        if not self.trainer.team.is_main_process:
            return
        self.curves.validation += points
        for point in points:
            metrics = {
                f"validation/{name}/{point['level']}": point[name] for name in ("right", "wrong", "none")
            }
            for hook in self.hooks:
                hook.on_metrics(self.trainer.step, metrics)

    def _samples(self) -> None:
        trainer = self.trainer
        count = min(trainer.settings.every.sample_count, trainer.validation.count)
        if not count or not trainer.team.is_main_process:
            return
        try:
            items = [trainer.validation[number] for number in range(count)]
            grid = sample_grid(
                trainer.base,
                trainer.info,
                trainer.average.module,
                trainer.settings,
                items,
                self._reader(),
                trainer.layout,
            )
            data = io.BytesIO()
            grid.save(data, "PNG")
            self.folder.store.write(
                self.folder.at("samples", f"step-{trainer.step:07d}.png"), data.getvalue()
            )
            for hook in self.hooks:
                hook.on_image(trainer.step, "samples", grid)
        except Exception as error:
            # A picture for people must not cost hours of training; a lost device does end it.
            if is_device_lost(error):
                raise
            self._note(f"no samples at step {trainer.step}: {type(error).__name__}: {str(error)[:200]}")

    def _save(self) -> None:
        trainer = self.trainer
        if trainer.team.is_main_process:
            self.curves.save(self.folder)
            self.checkpoints.start(trainer.checkpoint())
            self._flush()
        self.on_checkpoint(trainer.step, {"loss": self.loss if self.loss is not None else 0.0})

    def _flush(self) -> None:
        for hook in self.hooks:
            hook.flush()

    def _export(self) -> str:
        trainer = self.trainer
        record = TrainingRecord(
            name=self.name,
            base=trainer.info,
            settings=trainer.settings,
            curves=self.curves,
            step=trainer.step,
            samples=trainer.num_samples,
            validated=trainer.validation.count,
        )
        return export_adapter(self.folder, trainer.average.module, record, self._reader())

    def _reader(self) -> Mapping[str, Tensor] | None:
        average = self.trainer.reader_average
        return average.tensors() if average is not None else None

    def _note(self, text: str) -> None:
        self.status = replace(self.status, notes=(*self.status.notes[-9:], one_line(text)))
        self._status("running", force=True)

    def _status(self, state: State, *, force: bool = False, **more: Any) -> None:
        now = time.monotonic()
        if not self.trainer.team.is_main_process or (
            now - self.last_status < STATUS_INTERVAL_S and not force
        ):
            return
        self.last_status = now
        settings, step = self.trainer.settings, self.trainer.step
        if self.trainer.stored is not None:
            more["reference_cache"] = dict(self.trainer.stored.counts)
        rate = (step - self.first) / (now - self.started)
        details = {
            "loss": self.loss,
            "workers": self.trainer.team.size,
            "resumed_from": self.first,
            "validation": self.curves.last_validation(),
            **({"bad_samples": self.num_bad} if self.num_bad else {}),
            **more,
        }
        self.status = replace(
            self.status,
            state=state,
            updated_at=status_time(),
            total=settings.steps,
            counts={"done": step},
            rate=round(rate * settings.global_batch, 3),
            eta_s=round((settings.steps - step) / rate, 1) if rate else None,
            details=details,
        )
        write_status(self.folder.uri, self.status)

    def _first_status(self) -> Status:
        """The one that the driver has begun, which knows its cluster; a new one where there is no driver."""
        begun = read_status(self.folder.uri)
        if begun is not None and not begun.has_ended:
            return begun
        moment = status_time()
        return Status(
            kind="training",
            name=self.name,
            state="starting",
            started_at=moment,
            updated_at=moment,
            unit="steps",
        )


def _due(step: int, every: int, last: bool) -> bool:
    return bool(every) and (step % every == 0 or last)
