"""Loading a model inside a worker: device and threads are chosen here, never on the driver."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dreamcache.core.errors import ModelError
from dreamcache.storage.feature_cache import FeatureCache
from dreamcache.storage.models.encoders import gate_identity
from workers.context import JobContext

if TYPE_CHECKING:
    from dreamcache.inference.families.photo import PhotoConditions
    from dreamcache.inference.gate import Gate
    from dreamcache.inference.generate import Generator
    from dreamcache.inference.pipeline import DreamCachePipeline
    from dreamcache.inference.references import ReferenceFeatures
    from dreamcache.model.features import SubjectFeatures


def load_pipeline(context: JobContext) -> DreamCachePipeline:
    """The job's pipeline on this worker's device: its GPU where Ray gave it one, else the CPU.

    Raises ModelError when base or adapter are not those of the plan, whose fingerprints are in every item's id.
    """
    import ray
    import torch
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from dreamcache.inference.families.load import load_method

    torch.set_num_threads(context.num_threads)
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    # Ray leaves GPUs visible to workers that asked for none; only an assigned one is ours.
    has_gpu = bool(ray.get_runtime_context().get_accelerator_ids().get("GPU"))
    pipe = load_method(
        context.method,
        context.base,
        revision=context.revision,
        adapter=context.adapter,
        dtype=getattr(torch, context.dtype),
        device="cuda" if has_gpu else "cpu",
    )
    loaded = (pipe.info.fingerprint, pipe.adapter_info.fingerprint if pipe.adapter_info else "")
    if loaded != (context.base_fingerprint, context.adapter_fingerprint):
        raise ModelError(
            f"model '{context.base}' with adapter '{context.adapter}': this worker finds other files than the planner "
            f"did; give all machines the same ones"
        )
    return pipe


def load_references(context: JobContext, pipe: DreamCachePipeline) -> ReferenceFeatures | PhotoConditions:
    """Features by request, through the job's feature cache; for other methods what they make of the photo."""
    if context.method != "dreamcache":
        from dreamcache.inference.families.photo import PhotoConditions

        return PhotoConditions(pipe, context.limits)
    from dreamcache.inference.references import ReferenceFeatures

    cache = FeatureCache(context.cache, context.base_fingerprint)
    return ReferenceFeatures(pipe.encoder(context.reference), cache, context.limits)


def load_gate(context: JobContext, generator: Generator) -> Gate | None:
    """The job's quality gate around its generator, on the generator's device; None for a job without one.

    Raises ModelError when its encoders are not those of the plan.
    """
    if context.quality is None:
        return None
    from dreamcache.evaluation.score import Scorer
    from dreamcache.inference.gate import Gate

    if gate_identity(context.quality) != context.quality_identity:
        raise ModelError(
            "quality.metrics: this worker finds other encoders than the planner did; give all machines the same files"
        )
    device = str(generator.pipe.base.device)
    scorer = Scorer(context.quality.used_metrics, device=device, limits=context.limits)
    return Gate(generator, scorer, context.quality)


def blank_subject(pipe: DreamCachePipeline, context: JobContext) -> SubjectFeatures:
    """Features of a white photo, to warm up with."""
    from PIL import Image

    settings = replace(context.reference, segmenter="none", on_no_mask="whole_image")
    return pipe.encode_reference(Image.new("RGB", (settings.size, settings.size), "white"), settings=settings)


def device_name(pipe: DreamCachePipeline) -> str:
    """E.g. "cuda: NVIDIA H200" or "cpu", for the record of each image."""
    import torch

    device = pipe.base.device
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)
