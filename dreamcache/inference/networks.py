"""The ONNX networks of a job, loaded once before it starts: a broken file ends it there, and not with its first item.

    JobSpec -> segmenter u2net of `reference` and `quality`, OCR, invisible mark -> loaded and dropped, or ModelError

Knows which settings name a network; knows nothing of what networks do. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dreamcache.core.config import EncodeSettings
from dreamcache.core.config.job import JobSpec
from dreamcache.evaluation.truth import ocr
from dreamcache.provenance import invisible
from dreamcache.segment.u2net_file import require_u2net, with_segmenter_id
from dreamcache.storage.models.onnx_file import Network, OnnxFile, has_runtime, try_network


def check_networks(spec: JobSpec) -> None:
    """Raises ModelError for a network that cannot be loaded, with its path. Without onnxruntime, which a machine that
    only plans need not have, none is tried."""
    if has_runtime():
        for network in networks_of(spec):
            try_network(network)


def check_segmenter(name: str | None, models: Mapping[str, str]) -> None:
    """As `check_networks`, of one segmenter."""
    if has_runtime():
        for network in _of_segmenter(name, models):
            try_network(network)


def networks_of(spec: JobSpec) -> Iterator[Network]:
    """All that the job's settings use. Raises ModelError for a file that is not there."""
    quality, mark = spec.quality, spec.provenance.invisible
    yield from _of_segmenter(spec.reference.segmenter, spec.reference.segmenter_models)
    if quality is not None and (quality.checks - {"contrast"} or quality.used_metrics is not None):
        yield from _of_segmenter(quality.metrics.segmenter, quality.metrics.segmenter_models)
    if quality is not None and "label" in quality.checks:
        yield from ocr.find_ocr(quality.ocr or "").networks()
    if mark is not None:
        yield from invisible.networks(mark)


def _of_segmenter(name: str | None, models: Mapping[str, str]) -> Iterator[Network]:
    if (
        name in ("u2net", "auto")
        and with_segmenter_id(
            EncodeSettings(segmenter=name, segmenter_models=models)  # type: ignore[arg-type]
        ).segmenter_id
    ):
        file = require_u2net(models)
        yield Network(
            file=OnnxFile(path=file.path, sha256=file.identity),
            setting="segmenter 'u2net'",
            code="segmenter_missing",
            extra="u2net",
            dimensions=(4,),
        )
