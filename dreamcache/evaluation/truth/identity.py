"""What decides the truth gate's choice besides the image, as one hash for item ids.

Imports no torch, loads no network.
"""

from __future__ import annotations

from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.quality import QualitySettings
from dreamcache.evaluation.truth.ocr import find_ocr
from dreamcache.segment.u2net_file import with_segmenter_id
from dreamcache.storage.models.encoders import gate_identity, require_pinned_models

TRUTH_VERSION = 3
"""Raised when a release changes truth scores for the same settings."""


def segmenter_weights(metrics: MetricSettings) -> str:
    """Identity of the file of segmenter `u2net`, or of `auto` where the settings name one; else "".

    Raises ModelError `segmenter_missing`.
    """
    if metrics.segmenter is None:
        return ""
    settings = EncodeSettings(segmenter=metrics.segmenter, segmenter_models=metrics.segmenter_models)
    return with_segmenter_id(settings).segmenter_id or ""


def identity_of(gate: QualitySettings) -> str:
    """sha256 of all that decides which try is chosen. Of a gate without truth thresholds it is `gate_identity`.

    Raises ModelError for a model that may change, or is not there.
    """
    used = gate.used_metrics
    rest = gate_identity(gate, segmenter=segmenter_weights(used) if used is not None else "")
    thresholds = gate.truth_thresholds
    if not thresholds:
        return rest
    metrics, cuts = gate.metrics, set(thresholds) != {"min_contrast"}
    if cuts:
        require_pinned_models("quality.metrics.segmenter_models", metrics.segmenter_models)
    others = {name: model for name, model in metrics.segmenter_models.items() if name != "u2net"}
    reads = "min_label_words" in thresholds
    return ids.of_values(
        "truth-gate",
        version=TRUTH_VERSION,
        gate=rest,
        thresholds=dict(thresholds),
        segmenter=[metrics.segmenter, segmenter_weights(metrics), others] if cuts else None,
        ocr=[find_ocr(gate.ocr or "").identity, gate.on_unreadable] if reads else None,
    )
