"""Running a training: the output folder is claimed, Ray Train runs the workers, progress is read from status.json.

Running again is the same command: the workers go on from the newest checkpoint. Never imports torch.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from dreamcache.artifacts import describe_adapter, describe_base
from dreamcache.errors import DreamCacheError, SpecError
from dreamcache.storage.filesystem import join, store_for
from jobs.train_spec import TrainSpec, dump_train_spec
from workers.train import TrainContext

MARK = "# Written by 'dreamcache train': the training whose output this folder is.\n"
POLL_INTERVAL_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainReport:
    """How a training ended. adapter: where the exported adapter is; loss: of the last logged steps."""

    output: str
    adapter: str
    step: int
    loss: float | None
    validation: list[dict[str, float]]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "output": self.output,
            "adapter": self.adapter,
            "step": self.step,
            "loss": self.loss,
            "validation": self.validation,
            "seconds": round(self.seconds, 1),
        }


def run_training(spec: TrainSpec, *, quiet: bool = False, address: str | None = None) -> TrainReport:
    """Trains to the end, from the newest checkpoint if there is one. Raises DreamCacheError when it cannot.

    address: of a Ray cluster; None starts one here, or joins the one this process is in.
    """
    started = time.monotonic()
    base = describe_base(spec.model.base, spec.model.revision)
    if spec.model.adapter:
        describe_adapter(spec.model.adapter, base)
    _claim(spec)
    progress = _Progress(spec, quiet)
    progress.mark("starting", message="")
    _start_ray(address, spec)
    try:
        with progress:
            _fit(spec)
    except BaseException as error:
        with suppress(DreamCacheError):
            stopped = isinstance(error, (SystemExit, KeyboardInterrupt))
            message = (
                "interrupted" if stopped else (str(error).strip().splitlines() or [type(error).__name__])[-1]
            )
            progress.mark("stopped", message=message)
        if isinstance(error, SystemExit):  # how Ray Train ends on Ctrl-C, as if all had gone well
            raise KeyboardInterrupt from error
        raise
    status = progress.read()
    if status.get("state") != "finished":
        with suppress(DreamCacheError):
            progress.mark("stopped", message="interrupted")
        raise KeyboardInterrupt
    return TrainReport(
        output=spec.output,
        adapter=join(spec.output, "adapter"),
        step=int(status.get("step", 0)),
        loss=status.get("loss"),
        validation=status.get("validation", []),
        seconds=time.monotonic() - started,
    )


def _fit(spec: TrainSpec) -> None:
    from ray.train import TrainingFailedError

    from workers.train import fit

    context = TrainContext(
        name=spec.name,
        output=spec.output,
        base=spec.model.base,
        revision=spec.model.revision,
        adapter=spec.model.adapter,
        settings=spec.train,
        hooks=spec.hooks,
        num_threads=max(1, int(spec.workers.cpus)),
    )
    workers = spec.workers
    try:
        fit(
            context,
            workers=workers.count,
            cpus=workers.cpus,
            gpus=workers.gpus,
            max_failures=workers.max_failures,
        )
    except TrainingFailedError as error:
        told = re.search(r"dreamcache\.[\w.]+Error: (.+)", str(error))
        if told is None:
            raise DreamCacheError(
                f"training: a worker died more than {workers.max_failures} times; the same command goes on from the "
                f"last checkpoint: {str(error).strip().splitlines()[-1]}",
                code="worker_error",
            ) from error
        raise DreamCacheError(
            f"{told[1]}; the same command goes on from here", code="worker_error"
        ) from error


def _claim(spec: TrainSpec) -> None:
    """Makes the folder this training's. Raises SpecError `other_job` when it is another's or holds other files."""
    store, place = store_for(spec.output), join(spec.output, "train.yaml")
    text = (MARK + dump_train_spec(spec)).encode()
    if store.stat(place) is None:
        stranger = next(iter(store.list(spec.output)), None)
        if stranger is not None:
            raise SpecError(
                f"output '{spec.output}': must be empty or this training's, but holds '{stranger.uri}'; choose "
                f"another folder",
                code="other_job",
            )
    else:
        held = store.read(place)
        name = yaml.safe_load(held).get("name") if held.startswith(MARK.encode()) else None
        if name != spec.name:
            raise SpecError(
                f"output '{spec.output}': belongs to '{name}', this training is '{spec.name}'; choose another folder",
                code="other_job",
            )
    store.write(place, text)


class _Progress:
    """Reads status.json while the workers write it, and prints a line whenever it has changed."""

    def __init__(self, spec: TrainSpec, quiet: bool) -> None:
        self.place, self.quiet = join(spec.output, "status.json"), quiet
        self.store = store_for(spec.output)
        self.none_yet: dict[str, Any] = {
            "kind": "training",
            "job": spec.name,
            "step": 0,
            "steps": spec.train.steps,
            "loss": None,
            "images_per_s": 0.0,
            "eta_s": None,
        }
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Progress:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join(timeout=30)

    def read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.store.read(self.place)))
        except FileNotFoundError:
            return {}

    def mark(self, state: str, **more: Any) -> None:
        """Says in status.json how the run stands, for who reads it later; the workers write the rest."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        status = {**self.none_yet, **self.read(), "state": state, "updated_at": now, **more}
        self.store.write(self.place, (json.dumps(status, indent=1) + "\n").encode())

    def _watch(self) -> None:
        told = self.read().get("updated_at"), self.read().get("step")
        while True:
            last = self.ended.wait(POLL_INTERVAL_S)
            with suppress(DreamCacheError, ValueError):
                status = self.read()
                now = status.get("updated_at"), status.get("step")
                if status and now != told and not self.quiet:
                    told = now
                    print(progress_line(status), file=sys.stderr, flush=True)
            if last:
                return


def progress_line(status: dict[str, Any]) -> str:
    """E.g. "step 120/2000  loss 0.1345  38.2 images/s  ETA 0:12:03"."""
    loss, left = status.get("loss"), status.get("eta_s")
    eta = "-" if left is None else time.strftime("%H:%M:%S", time.gmtime(left % 86400))
    days = f"{int(left // 86400)} d " if left and left >= 86400 else ""
    parts = [
        f"step {status['step']}/{status['steps']}",
        f"loss {loss:.4f}" if loss is not None else "loss -",
        f"{status['images_per_s']:.1f} images/s",
        "ended" if status["state"] == "finished" else f"ETA {days}{eta}",
    ]
    return "  ".join(parts)


def _start_ray(address: str | None, spec: TrainSpec) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    # Here, unlike on a cluster, the training must find room however few cores there are.
    wanted = math.ceil(spec.workers.count * spec.workers.cpus)
    cpus = {"num_cpus": max(os.cpu_count() or 1, wanted)} if address == "local" else {}
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        include_dashboard=False,
        **cpus,
    )
