"""Running a synthesis: each stage plans its parts, generates those that are missing, and passes their names on.

    captions -> filter (here) -> images -> masks -> dataset -> dataset.json, last

Running again is the same command: existing parts are not generated again, so counts stay exact. Never imports torch.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dreamcache.core import ids
from dreamcache.core.config.job import WorkerSpec
from dreamcache.inference.networks import check_segmenter
from dreamcache.storage.open_store import join, store_for
from dreamcache.synthesis import captions, dataset, filter, masks, render
from dreamcache.synthesis.make import StageContext
from dreamcache.synthesis.models import describe_llm, describe_painter
from dreamcache.synthesis.parts import StagePart, missing, read_part, to_bytes
from jobs.output.claim import claim
from jobs.output.folder import json_bytes
from jobs.running.claimed_run import claimed_run
from jobs.running.progress import RunProgress
from jobs.running.status import RunStatus
from jobs.synthesize.spec import SynthSpec, dump_synth_spec

MARK = "# Written by 'dreamcache synthesize': the synthesis whose output this folder is.\n"

STAGES = ("captions", "images", "masks", "dataset")

Engine = Callable[[StageContext, WorkerSpec, Sequence[StagePart]], Iterator[str]]
"""Generates parts, in any order, and yields each one's name when it is committed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthReport:
    """Counts over all runs. parts: written by this run, by stage."""

    output: str
    counts: dict[str, Any]
    parts: dict[str, int]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 every image was generated, 3 some were not."""
        return 3 if self.counts["images_failed"] else 0

    def as_dict(self) -> dict[str, Any]:
        values = {"output": self.output, "dataset": join(self.output, dataset.STAGE), **self.counts}
        return {**values, "parts": self.parts, "seconds": round(self.seconds, 1), "exit_code": self.exit_code}


def run_synthesis(
    spec: SynthSpec, *, quiet: bool = False, address: str | None = None, engine: Engine | None = None
) -> SynthReport:
    """Runs what is missing. Raises DreamCacheError when the whole cannot go on.

    address: of a Ray cluster; None starts one here. engine: in Ray's place, for a run inside this process.
    """
    check_segmenter(spec.masks.segmenter, spec.masks.segmenter_models)
    if engine is None:
        from jobs.cluster.ray_cluster import join_cluster
        from jobs.synthesize.engine import generate_parts

        pools = [getattr(spec.workers, stage) for stage in STAGES]
        join_cluster(
            address,
            cpus=max(pool.count * pool.cpus for pool in pools),
            gpus=max(pool.count * pool.gpus for pool in pools),
        )
        engine = generate_parts
    started = time.monotonic()
    synthesis = _Synthesis(spec, engine)
    with claimed_run(
        spec.output, "synthesis", spec.name, claim=synthesis.claim, address=address, quiet=quiet
    ) as run:
        counts = synthesis.run(run)
        place = join(spec.output, dataset.STAGE)
        run.end("finished", details={"counts": counts, "dataset": place})
    return SynthReport(
        output=spec.output, counts=counts, parts=synthesis.num_written, seconds=time.monotonic() - started
    )


class _Synthesis:
    """The stages of one run. num_written: parts that this run has written, by stage."""

    def __init__(self, spec: SynthSpec, engine: Engine) -> None:
        self.spec, self.engine = spec, engine
        self.store, self.num_written = store_for(spec.output), dict.fromkeys(STAGES, 0)
        self.llm = describe_llm(spec.captions).fingerprint if spec.captions.backend == "llm" else ""
        self.painter = describe_painter(spec.images).fingerprint

    def claim(self) -> None:
        """Makes the output folder this synthesis's. Raises SpecError when it is another's."""
        spec, text = self.spec, dump_synth_spec(self.spec)
        claim(spec.output, "synthesize.yaml", kind="synthesis", name=spec.name, mark=MARK, spec=text)

    def run(self, status: RunStatus) -> dict[str, Any]:
        """Runs what is missing of all stages; the counts over all runs."""
        spec, self.status = self.spec, status
        rows, num_bad = self._captions()
        kept, counted = self._filter(rows)
        images = render.plan(kept, spec.images, seed=spec.seed, fingerprint=self.painter)
        self._generate(render.STAGE, images)
        masked = masks.plan(images, spec.masks)
        self._generate(masks.STAGE, masked)
        verdicts = [(part, self._verdicts(part)) for part in masked]
        shards = dataset.plan(verdicts, spec.dataset, seed=spec.seed, recipe=self._recipe())
        self._generate(dataset.STAGE, shards)
        counts = self._counts(counted, num_bad, verdicts, shards)
        self._finish(shards, counts)
        return counts

    def _captions(self) -> tuple[list[dict[str, Any]], int]:
        """All captions in order of their requests, and the LLM's lines that were none."""
        settings, rows, num_bad = self.spec.captions, [], 0
        for num_rounds in range(1, settings.max_rounds + 1):
            parts = captions.plan(settings, seed=self.spec.seed, fingerprint=self.llm, num_rounds=num_rounds)
            self._generate(captions.STAGE, parts)
            read = [read_part(self.spec.output, part.name) for part in parts]
            rows = [row for part_rows, _ in read for row in part_rows][: settings.count]
            num_bad = sum(int(metadata["num_bad"]) for _, metadata in read)
            if len(rows) >= settings.count or settings.backend == "templates":
                break
        return rows, num_bad

    def _filter(self, rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], filter.FilterCounts]:
        """Cheap and without chance, so it is done anew in every run; what is stored is for who looks."""
        kept, counts = filter.keep(rows, self.spec.filter)
        data = to_bytes(kept, captions.CAPTIONS)
        self._write("filter/kept.parquet", data)
        self._write("filter/report.json", json_bytes(counts.as_dict()))
        self._write("filter/report.md", filter.report(counts).encode())
        return kept, counts

    def _generate(self, stage: str, parts: Sequence[StagePart]) -> None:
        pending = missing(self.spec.output, stage, parts)
        written = {"done": len(parts) - len(pending)}
        if not pending:
            self.status.update(unit="parts", stage=stage, total=len(parts), counts=written)
            return
        pool: WorkerSpec = getattr(self.spec.workers, stage)
        context = StageContext(
            output=self.spec.output,
            stage=stage,
            seed=self.spec.seed,
            captions=self.spec.captions,
            images=self.spec.images,
            masks=self.spec.masks,
            num_threads=max(1, int(pool.cpus)),
        )
        with RunProgress(self.status, len(pending), unit="parts", stage=stage, before=written) as progress:
            for _ in self.engine(context, pool, pending):
                self.num_written[stage] += 1
                progress.add("done")
                self.status.check()

    def _verdicts(self, part: StagePart) -> list[dict[str, Any]]:
        rows, _ = read_part(self.spec.output, part.name)
        return [{name: row[name] for name in ("item_id", "object", "verdict")} for row in rows]

    def _counts(
        self,
        counted: filter.FilterCounts,
        num_bad: int,
        verdicts: Sequence[tuple[StagePart, Sequence[dict[str, Any]]]],
        shards: Sequence[StagePart],
    ) -> dict[str, Any]:
        seen = Counter(row["verdict"] for _, rows in verdicts for row in rows)
        samples = {split: 0 for split in dataset.SPLITS}
        for shard in shards:
            samples[shard.work["split"]] += sum(len(source["items"]) for source in shard.work["sources"])
        failed = seen.pop(masks.NO_IMAGE, 0)
        return {
            "captions": counted.num_before,
            "bad_lines": num_bad,
            "kept": counted.num_after,
            "dropped": {reason: n for reason, n in sorted(counted.dropped.items())},
            "images": seen.total(),
            "images_failed": failed,
            "masks": seen[masks.KEPT],
            "no_mask": {name: n for name, n in sorted(seen.items()) if name != masks.KEPT},
            **samples,
        }

    def _finish(self, shards: Sequence[StagePart], counts: dict[str, Any]) -> None:
        """The dataset's own files; shards of earlier settings go, so that the folder holds what was counted."""
        current = {join(self.spec.output, part.name) for part in shards}
        for split in dataset.SPLITS:
            for info in list(self.store.list(join(self.spec.output, dataset.STAGE, split))):
                if info.uri not in current and info.uri.rsplit("/", 1)[-1].startswith("part-"):
                    self.store.delete(info.uri)
        self._write(f"{dataset.STAGE}/README.md", dataset.card(shards).encode())
        facts = {"recipe": self._recipe(), "settings": self._settings(), "counts": counts}
        files = [part.name.removeprefix(f"{dataset.STAGE}/") for part in shards]
        self._write(f"{dataset.STAGE}/dataset.json", json_bytes({**facts, "shards": files}))

    def _settings(self) -> dict[str, Any]:
        """All that decides a sample."""
        spec = self.spec
        return {
            "seed": spec.seed,
            "captions": {**asdict(spec.captions), "fingerprint": self.llm},
            "filter": asdict(spec.filter),
            "images": {**asdict(spec.images), "model": spec.images.model_name, "fingerprint": self.painter},
            "masks": asdict(spec.masks),
        }

    def _recipe(self) -> str:
        return ids.of_values("recipe", **self._settings())

    def _write(self, name: str, data: bytes) -> None:
        self.store.write(join(self.spec.output, name), data)
