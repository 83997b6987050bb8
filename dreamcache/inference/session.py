"""One way to open what a job generates with: pipeline, references, generator and quality gate, on one device.

    JobSpec + PlanFacts + device -> JobSession -> references.get(request)
                                               -> generator().generate(requests) -> gate(generator).generate(requests)

Workers, replay and calibration open a job through it. Knows families by their interface only; knows nothing of Ray.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypedDict

import torch
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.config.job import JobSpec
from dreamcache.inference.facts import PlanFacts, check_after, check_models, family_of_job
from dreamcache.inference.families.open import ReferenceSources, family_module
from dreamcache.inference.gate import Gate
from dreamcache.inference.generate import Generator
from dreamcache.inference.protocols import ImageGenerator, Pipeline, References, Subject
from dreamcache.storage.feature_cache import FeatureCache

WARM_UP_SIDE = 64
"""Pixels; no family refuses a photo of this size."""


class _Reading(TypedDict):
    """How a gate reads photos, and where its networks run."""

    device: str
    limits: ImageLimits
    hosts: Sequence[CatalogHost]


class JobSession:
    """A job's models, loaded. pipe: the family's pipeline; references: what it reads of subjects."""

    def __init__(
        self, spec: JobSpec, facts: PlanFacts, *, device: str, cache: str | None = None, capacity: int = 64
    ) -> None:
        """device: in torch's words. cache: another feature cache than the job's; capacity: subjects in memory.

        Raises ModelError when base or adapter are not those of the plan, or cannot be loaded.
        """
        check_models(spec, facts)
        self.spec, self.facts = spec, facts
        module = family_module(family_of_job(spec))
        self.pipe: Pipeline[Subject] = module.open_pipeline(
            spec.model_to_open, facts.base, facts.adapter, device=device
        )
        sources = ReferenceSources(
            settings=facts.reference,
            cache=FeatureCache(cache or spec.cache_uri, facts.base.fingerprint),
            limits=spec.limits,
            capacity=capacity,
            hosts=spec.catalog_hosts,
        )
        self.references: References[Subject] = module.open_references(self.pipe, sources)

    def generator(self) -> Generator[Subject]:
        """With the job's settings and batch size."""
        return Generator(
            self.pipe,
            self.spec.generation,
            self.references.get,
            batch_size=self.spec.workers.batch_size,
            per_image=family_of_job(self.spec).per_image,
        )

    def warm_up(self, generator: Generator[Subject]) -> None:
        """Generates from a white photo, so that kernels are built and memory is known before the first item.

        After `gate`, whose encoders take memory too.
        """
        settings = replace(self.facts.reference, segmenter="none", on_no_mask="whole_image")
        side = max(settings.size, WARM_UP_SIDE)
        white = Image.new("RGB", (side, side), "white")
        scenes = [scene.overrides for scene in self.spec.scenes]
        generator.warm_up(self.pipe.encode_reference(white, settings=settings), scenes)

    def gate(self, generator: Generator[Subject]) -> ImageGenerator:
        """The job's quality gate around a generator, on its device; the generator itself for a job without a gate.

        Raises ModelError when the encoders are not those of the plan.
        """
        settings = self.spec.quality
        if settings is None:
            return generator
        from dreamcache.evaluation.score import Scorer
        from dreamcache.evaluation.truth.check import TruthChecker
        from dreamcache.evaluation.truth.identity import segmenter_weights

        check_after(self.spec, self.facts)
        options: _Reading = {
            "device": str(self.device), "limits": self.spec.limits, "hosts": self.spec.catalog_hosts,
        }  # fmt: skip
        metrics = settings.used_metrics
        scorer = None
        if metrics is not None:
            scorer = Scorer(metrics, segmenter=segmenter_weights(metrics), **options)
        truth = TruthChecker(settings, **options) if settings.checks else None
        return Gate(generator, scorer, settings, truth)

    @property
    def device(self) -> torch.device:
        """Where passes run; with `model.offload` the GPU."""
        device: torch.device = self.pipe.base._execution_device
        return device

    @property
    def device_name(self) -> str:
        """E.g. "cuda: NVIDIA H200" or "cpu", for the record of each image."""
        is_gpu = self.device.type == "cuda"
        return f"cuda: {torch.cuda.get_device_name(self.device)}" if is_gpu else str(self.device)


def num_threads(spec: JobSpec) -> int:
    """torch threads of one generator: a kernel's last bits depend on their number, so it is the same everywhere."""
    return max(1, int(spec.workers.generators.cpus))


@contextmanager
def local_session(spec: JobSpec, facts: PlanFacts, *, capacity: int = 64) -> Iterator[JobSession]:
    """A session in this process as a generator worker has it, with an empty feature cache of its own.

    On a GPU if the job declares one and this machine has one. Threads are as before afterwards.
    """
    silence_libraries()
    has_gpu = spec.workers.generators.gpus > 0 and torch.cuda.is_available()
    with (
        pinned_threads(num_threads(spec)),
        tempfile.TemporaryDirectory(prefix="dreamcache-session-") as folder,
    ):
        device = "cuda" if has_gpu else "cpu"
        yield JobSession(spec, facts, device=device, cache=folder, capacity=capacity)


@contextmanager
def pinned_threads(count: int) -> Iterator[None]:
    """Within the block torch computes with so many threads; afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def silence_libraries() -> None:
    """No progress bars of diffusers and transformers: logs of many workers would be nothing else."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
