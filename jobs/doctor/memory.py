"""The check of memory: what one generator takes for its micro-batch, estimated, against what is free on the nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dreamcache.core.config.job import JobSpec
from dreamcache.inference.facts import describe_models, family_of_job, settings_of_scenes
from jobs.doctor.check import Verdict, fail, ok, skip, warn

COMFORT = 0.8
LOWER = "lower workers.batch_size, or set model.dtype: bfloat16"
NOT_BESIDE = ", or workers.overlap_decoding: off"


def memory(spec: JobSpec, nodes: list[dict[str, Any]]) -> Verdict:
    """Compares on the tightest device. It is an estimate, so only weights that cannot fit are a failure."""
    generators = spec.workers.generators
    on_gpu = generators.gpus > 0
    free = _free(nodes, on_gpu)
    if free is None:
        lacking = [node["gpu_error"] for node in nodes if "gpu_error" in node]
        if lacking:
            return fail(f"no GPU answers: {lacking[0]}", "install a torch that fits the driver")
        return skip("no machine has a GPU" if on_gpu and nodes else "no machine answers")
    need = _needed(spec, nodes, on_gpu)
    sharing = _sharing(spec, nodes, on_gpu)
    size = spec.workers.batch_size
    device = "the smallest GPU" if on_gpu else "the fullest machine"
    finding = (
        f"about {need(size) / 1e9:.1f} GB for {sharing} generator{'s' if sharing > 1 else ''} with batches of {size} "
        f"(an estimate), {free / 1e9:.1f} GB free on {device}"
    )
    if need(0) > free:
        return fail(
            f"{finding}; the weights alone take {need(0) / 1e9:.1f} GB",
            f"use larger machines, or fewer workers on each{_smaller(spec)}",
        )
    if need(size) > COMFORT * free:
        is_beside = spec.overlaps_decoding and family_of_job(spec).decodes_apart
        return warn(finding, LOWER + (NOT_BESIDE if is_beside else ""))
    return ok(finding)


def _sharing(spec: JobSpec, nodes: list[dict[str, Any]], on_gpu: bool) -> int:
    """Generators that share one GPU, or one machine."""
    generators = spec.workers.generators
    if not on_gpu:
        return math.ceil(generators.count / max(1, len(nodes)))
    return math.floor(1 / generators.gpus) if generators.gpus < 1 else 1


def _needed(spec: JobSpec, nodes: list[dict[str, Any]], on_gpu: bool) -> Callable[[int], int]:
    """Bytes that generators on one device take together, by the size of their batches."""
    models, family = describe_models(spec.method, spec.model), family_of_job(spec)
    settings_of_items = settings_of_scenes(spec)
    sharing = _sharing(spec, nodes, on_gpu)

    def need(batch_size: int) -> int:
        return sharing * max(
            family.worker_bytes(
                models.base,
                models.adapter,
                settings,
                batch_size=batch_size,
                dtype=spec.dtype,
                on_gpu=on_gpu,
                offload=spec.model.offload,
                overlaps_decoding=spec.overlaps_decoding,
            )
            for settings in settings_of_items
        )

    return need


def _smaller(spec: JobSpec) -> str:
    """Settings that this job's base has and does not use, by which fewer weights are on a GPU."""
    family, model = family_of_job(spec), spec.model
    ways = ["model.offload: model"] if family.offloads and model.offload == "none" else []
    ways += (
        ["model.quantize: nf4"] if family.quantized and model.quantize == "none" and not model.loras else []
    )
    return f", or set {' or '.join(ways)}" if ways and spec.workers.generators.gpus else ""


def _free(nodes: list[dict[str, Any]], on_gpu: bool) -> int | None:
    if on_gpu:
        return min((int(gpu["free"]) for node in nodes for gpu in node["gpus"]), default=None)
    return min((int(node["free_bytes"]) for node in nodes if node["free_bytes"]), default=None)
