"""Running an ablation: every variant is trained with every seed, all are evaluated together, the table is written.

    trainings/<variant>-seed<n>/  ->  evaluation/  ->  report.md  report.json  table.parquet  plots/*.svg

Running again is the same command: finished trainings stay, others resume from their checkpoints, images and scores are
kept. Never imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.open_store import join
from jobs.ablate.report import variant_facts, write_report
from jobs.ablate.spec import AblateSpec, dump_ablate_spec
from jobs.ablate.trainings import is_finished, run_trainings
from jobs.cluster.ray_cluster import join_cluster
from jobs.evaluate.runner import needs, run_evaluation
from jobs.output.claim import claim
from jobs.running.claimed_run import claimed_run
from jobs.running.status import RunStatus

MARK = "# Written by 'dreamcache ablate': the ablation whose output this folder is.\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class AblateReport:
    """How an ablation ended. rows: the table, a line per variant; trained: by this run; failed: images unscored."""

    output: str
    rows: tuple[Mapping[str, Any], ...]
    trained: int
    failed: int
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 every image has its score, 3 some have none."""
        return 3 if self.failed else 0

    def as_dict(self) -> JsonObject:
        return {
            "output": self.output,
            "report": join(self.output, "report.md"),
            "variants": list(self.rows),
            "trained": self.trained,
            "failed": self.failed,
            "seconds": round(self.seconds, 1),
            "exit_code": self.exit_code,
        }


def run_ablation(spec: AblateSpec, *, quiet: bool = False, address: str | None = None) -> AblateReport:
    """Trains and measures what is missing and writes the report. Raises DreamCacheError when it cannot go on.

    address: of a Ray cluster; None starts one here, or joins the one this process is in.
    """
    started = time.monotonic()

    def claim_folder() -> None:
        text = dump_ablate_spec(spec)
        claim(spec.output, "ablate.yaml", kind="ablation", name=spec.name, mark=MARK, spec=text)

    with claimed_run(
        spec.output, "ablation", spec.name, claim=claim_folder, address=address, quiet=quiet
    ) as run:
        num_trained = _train(spec, run)
        run.write(stage="evaluation")
        evaluation = spec.evaluation_of()
        measured = run_evaluation(evaluation, quiet=quiet, address=address)
        run.check()
        facts = {variant.name: variant_facts(spec, variant) for variant in spec.variants}
        rows = write_report(spec, measured.images, facts)
        report = AblateReport(
            output=spec.output,
            rows=tuple(rows),
            trained=num_trained,
            failed=measured.failed + measured.missing,
            seconds=time.monotonic() - started,
        )
        run.end("finished", details={"report": report.as_dict()["report"]})
    return report


def _train(spec: AblateSpec, run: RunStatus) -> int:
    """Runs the trainings that are not finished; returns how many this run ran."""
    pending = [arm for arm in spec.arms() if not is_finished(spec.training_of(arm))]
    total = len(spec.arms())
    run.write(
        state="running",
        stage="trainings",
        unit="trainings",
        total=total,
        counts={"done": total - len(pending)},
    )
    if not pending:
        return 0
    workers = spec.training_of(pending[0]).workers
    # The evaluation that follows uses the same cluster.
    cpus, gpus = needs(spec.evaluation_of())
    at_once = min(spec.parallel, len(pending)) * workers.count
    join_cluster(
        run.current.address, cpus=max(cpus, at_once * workers.cpus), gpus=max(gpus, at_once * workers.gpus)
    )
    ended: list[str] = []

    def on_end(arm: object) -> None:
        ended.append(str(arm))
        run.write(counts={"done": total - len(pending) + len(ended)})

    run_trainings(spec, pending, quiet=run.quiet, address=run.current.address, check=run.check, on_end=on_end)
    return len(ended)
