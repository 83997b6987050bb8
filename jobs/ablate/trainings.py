"""The trainings of an ablation: those that are finished are left alone, the others run, some at a time.

    arm -> TrainSpec -> finished? -> run_training, here one after the other, or each in a task of the cluster

Each training is a normal one with an output folder of its own, so a killed ablation resumes where they stopped. Knows
Ray; never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import yaml

from dreamcache.core.errors import DreamCacheError
from dreamcache.evaluation.ablation import Arm
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.status import read_status
from jobs.ablate.spec import AblateSpec
from jobs.cluster.ray_cluster import worker_error
from jobs.train.runner import run_training
from jobs.train.spec import TrainSpec, dump_train_spec, parse_train_spec

OnEnd = Callable[[Arm], None]
"""on_end(arm), called after each training that has ended well"""


def is_finished(spec: TrainSpec) -> bool:
    """Whether this very training has ended, with an adapter that can be read."""
    store = store_for(spec.output)
    try:
        written = store.read(join(spec.output, "train.yaml")).decode("utf-8", "replace")
        store.read(join(spec.output, "adapter", "config.json"))
        status = read_status(spec.output)
    except (FileNotFoundError, DreamCacheError):
        return False
    is_same = written.endswith(dump_train_spec(spec))
    return is_same and status is not None and status.state == "finished"


def run_trainings(
    spec: AblateSpec,
    arms: Sequence[Arm],
    *,
    quiet: bool,
    address: str | None,
    check: Callable[[], None],
    on_end: OnEnd,
) -> None:
    """Runs the trainings of `arms` to their end. Raises DreamCacheError of the first that cannot go on.

    check: raises KeyboardInterrupt when one was requested.
    """
    if spec.parallel == 1:
        for arm in arms:
            run_training(spec.training_of(arm), quiet=quiet, address=address)
            check()
            on_end(arm)
        return
    _run_at_once(spec, arms, check=check, on_end=on_end)


def _run_at_once(spec: AblateSpec, arms: Sequence[Arm], *, check: Callable[[], None], on_end: OnEnd) -> None:
    """`spec.parallel` trainings at a time, each driven by a task; its workers are scheduled by Ray Train."""
    import ray

    # A driver waits and does nothing else; a task that is lost is started again by the user's next command.
    task = ray.remote(num_cpus=0, max_retries=0)(_train)
    waiting = list(arms)
    running: dict[Any, Arm] = {}
    try:
        while waiting or running:
            while waiting and len(running) < spec.parallel:
                arm = waiting.pop(0)
                running[task.remote(dump_train_spec(spec.training_of(arm)))] = arm
            ended, _ = ray.wait(list(running), num_returns=1, timeout=2)
            check()
            for reference in ended:
                arm = running.pop(reference)
                _result(reference, arm)
                on_end(arm)
    finally:
        for reference in running:
            ray.cancel(reference)


def _train(text: str) -> None:
    """A training in a worker process of the cluster that the ablation runs on."""
    run_training(parse_train_spec(yaml.safe_load(text)), quiet=True)


def _result(reference: Any, arm: Arm) -> None:
    import ray
    from ray.exceptions import RayError

    try:
        ray.get(reference)
    except RayError as error:
        lost = f"training of '{arm.name}': {str(error).strip().splitlines()[-1]}"
        ours = worker_error(error, f"it is the training of '{arm.name}'")
        raise ours or DreamCacheError(lost, code="worker_error") from error
