"""Running an evaluation: jobs are run, their images scored, and the report is written.

    methods -> jobs.run (each its own folder, one feature cache) -> images - scores -> scorers (Ray) -> report

Running again is the same command: jobs resume where they ended, and what has a score is not scored again. Images that
could not be scored are tried again. Never imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dreamcache.evaluation.dreambench import Benchmark
from dreamcache.evaluation.scores import Score, Scores
from dreamcache.evaluation.summary import ScoredImage, Summary, summarize
from dreamcache.inference.networks import check_segmenter
from dreamcache.storage.open_store import join
from jobs.cluster.ray_cluster import join_cluster
from jobs.evaluate.bench import read_bench, write_catalog
from jobs.evaluate.engine import score_images
from jobs.evaluate.plan import PlannedImage, photo_hosts, plan_method, real_photos, unique
from jobs.evaluate.report import write_report
from jobs.evaluate.spec import EvalSpec, dump_eval_spec
from jobs.output.claim import claim
from jobs.running.claimed_run import claimed_run
from jobs.running.progress import RunProgress
from jobs.running.runner import run as run_job
from jobs.running.status import RunStatus

MARK = "# Written by 'dreamcache evaluate': the evaluation whose output this folder is.\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalReport:
    """How an evaluation ended. rows: the table, a line per method; scored: by this run; images: all, with scores."""

    output: str
    rows: tuple[dict[str, Any], ...]
    scored: int
    failed: int
    missing: int
    seconds: float
    chosen: str | None = None
    images: tuple[ScoredImage, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 every image has its score, 3 some have none."""
        return 3 if self.failed or self.missing else 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "output": self.output,
            "report": join(self.output, "report.md"),
            "methods": list(self.rows),
            "chosen": self.chosen,
            "scored": self.scored,
            "failed": self.failed,
            "missing": self.missing,
            "seconds": round(self.seconds, 1),
            "exit_code": self.exit_code,
        }


def run_evaluation(spec: EvalSpec, *, quiet: bool = False, address: str | None = None) -> EvalReport:
    """Runs what is missing and writes the report. Raises DreamCacheError when the whole cannot go on.

    address: of a Ray cluster; None starts one here, or joins the one this process is in.
    """
    started = time.monotonic()
    check_segmenter(spec.metrics.segmenter, spec.metrics.segmenter_models)
    bench = read_bench(spec)

    def claim_folder() -> None:
        text = dump_eval_spec(spec)
        claim(spec.output, "evaluate.yaml", kind="evaluation", name=spec.name, mark=MARK, spec=text)

    with claimed_run(
        spec.output, "evaluation", spec.name, claim=claim_folder, address=address, quiet=quiet
    ) as run:
        planned, missing = _run_jobs(spec, bench, run)
        num_scored = _score(spec, planned, run)
        images = _joined(planned, Scores(spec.output).read())
        names = [method.name for method in spec.lines()]
        summary = summarize(images, names, spec.metrics.metrics, spec.bootstrap, missing)
        rows, chosen = write_report(spec, bench, images, summary)
        report = EvalReport(
            output=spec.output,
            rows=tuple(rows),
            scored=num_scored,
            failed=_total(summary, "num_failed"),
            missing=sum(missing.values()),
            seconds=time.monotonic() - started,
            chosen=chosen,
            images=tuple(images),
        )
        run.end("finished", details={"report": report.as_dict()["report"], "chosen": chosen})
    return report


def _run_jobs(
    spec: EvalSpec, bench: Benchmark | None, run: RunStatus
) -> tuple[list[PlannedImage], dict[str, int]]:
    """(images to have a score, planned images that are not there, by method), after each method's job has run."""
    real = real_photos(spec, bench)
    _join(spec, run.current.address)
    if bench is not None:
        write_catalog(spec, bench)
    planned: list[PlannedImage] = []
    missing: dict[str, int] = {}
    for method in spec.lines():
        if method.runs:
            run.write(state="running", stage=f"job of {method.name}")
            run_job(spec.job_of(method), quiet=run.quiet, address=run.current.address)
            run.check()
        images, missing[method.name] = plan_method(spec, method, real, bench)
        planned += images
    return planned, missing


def _score(spec: EvalSpec, planned: Sequence[PlannedImage], run: RunStatus) -> int:
    """Scores what has no score yet; returns how many this run scored."""
    known = Scores(spec.output).read()
    images = unique(planned)
    pending = [
        request for ident, request in images.items() if ident not in known or known[ident].code is not None
    ]
    scored = {"done": len(images) - len(pending)}
    with RunProgress(run, len(pending), stage="scores", before=scored) as progress:
        for outcome in score_images(spec, pending, photo_hosts(spec)) if pending else ():
            progress.add(outcome)
            run.check()
    return progress.counts["done"]


def _joined(planned: Sequence[PlannedImage], scores: dict[str, Score]) -> list[ScoredImage]:
    lost = "no score was recorded; the same command scores it"
    return [
        ScoredImage(
            method=image.method,
            subject_id=image.request.subject_id,
            class_name=image.request.class_name,
            prompt=image.request.prompt,
            image=image.request.image,
            sample=image.sample,
            score=scores.get(image.request.score_id)
            or Score(score_id=image.request.score_id, code="no_score", message=lost),
        )
        for image in planned
    ]


def _join(spec: EvalSpec, address: str | None) -> None:
    """One cluster for all the jobs and the scorers, with room for the largest of them where it is started here."""
    cpus, gpus = needs(spec)
    join_cluster(address, cpus=cpus, gpus=gpus)


def needs(spec: EvalSpec) -> tuple[float, float]:
    """(CPUs, GPUs) of the largest of an evaluation's jobs and its scorers."""
    scorers = spec.workers.scorers
    cpus, gpus = [scorers.count * scorers.cpus], [scorers.count * scorers.gpus]
    for method in spec.lines():
        if method.runs:
            workers = spec.job_of(method).workers
            cpus.append(workers.cpus)
            gpus.append(workers.gpus)
    return max(cpus), max(gpus)


def _total(summary: Summary, name: str) -> int:
    return sum(getattr(mean, name) for mean in summary.methods)
