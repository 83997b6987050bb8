"""Running a training: the output folder is claimed, Ray Train runs the workers, progress is read from status.json,
which the workers write.

Running again is the same command: the workers resume from the newest checkpoint. Never imports torch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dreamcache.core.errors import DreamCacheError
from dreamcache.inference.families.family import adapter_family
from dreamcache.storage.models.adapter import describe_adapter
from dreamcache.storage.open_store import join
from jobs.cluster.ray_cluster import join_cluster, worker_error
from jobs.output.claim import claim
from jobs.running.claimed_run import claimed_run
from jobs.train.progress import TrainProgress
from jobs.train.spec import TrainSpec, dump_train_spec
from workers.train import TrainContext, fixed_error

MARK = "# Written by 'dreamcache train': the training whose output this folder is.\n"


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
    family = adapter_family(spec.model.base, spec.model.revision)
    base = family.describe_base(spec.model.base, spec.model.revision)
    if spec.model.adapter:
        describe_adapter(spec.model.adapter, base)

    def claim_folder() -> None:
        text = dump_train_spec(spec)
        claim(spec.output, "train.yaml", kind="training", name=spec.name, mark=MARK, spec=text)

    output, name, workers = spec.output, spec.name, spec.workers
    with claimed_run(
        output, "training", name, claim=claim_folder, address=address, quiet=quiet, by_workers=True
    ) as run:
        run.write(unit="steps", total=spec.train.steps)
        join_cluster(address, cpus=workers.count * workers.cpus, gpus=workers.count * workers.gpus)
        with TrainProgress(run):
            _fit(spec)
        status = run.reload()
        if status.state != "finished":  # Ray Train ends on an interrupt as if all had gone well
            raise KeyboardInterrupt
    return TrainReport(
        output=spec.output,
        adapter=join(spec.output, "adapter"),
        step=status.counts.get("done", 0),
        loss=status.details.get("loss"),
        validation=status.details.get("validation", []),
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
    except SystemExit as error:  # how Ray Train ends on Ctrl-C
        raise KeyboardInterrupt from error
    except TrainingFailedError as error:
        known = fixed_error(error)
        if known is not None:
            raise DreamCacheError(
                f"{known}; once it is corrected, the same command resumes from the last checkpoint",
                code=known.code,
            ) from error
        rest = "the same command resumes from the last checkpoint"
        last = str(error).strip().splitlines()[-1]
        died = f"training: a worker died more than {workers.max_failures} times: {last}; {rest}"
        raise worker_error(error, rest) or DreamCacheError(died, code="worker_error") from error
