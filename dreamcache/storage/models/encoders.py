"""Where an encoder's weights are and what they are called, without torch: folder, hub id, or the embedded CLIP.

Knows files and names only.
"""

from __future__ import annotations

from collections.abc import Mapping

from dreamcache.core import ids
from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.errors import ModelError
from dreamcache.storage.models.files import hash_files
from dreamcache.storage.models.lookup import ModelLocation, mini_folder, require_pinned
from dreamcache.storage.models.lookup import locate as locate_model

METRICS_VERSION = 1
"""Raised when a release changes scores for the same settings."""

GATE_VERSION = 1
"""Raised when a release chooses other images for the same settings of the quality gate."""


def locate(name: str) -> ModelLocation:
    """Where an encoder is; `mini` is the embedded CLIP. Raises ModelError."""
    model = locate_model(name, embedded=mini_folder() / "clip")
    if model is None:
        raise ModelError(
            f"metrics: model '{name}': must be 'mini', a folder or a hub id at a commit, 'owner/name@commit'; "
            f"got none of these"
        )
    return model


def fingerprint(settings: MetricSettings, *, segmenter: str = "") -> str:
    """sha256 of all that decides a score besides the image: encoders by content, segmenter, version.

    segmenter: identity of the file that cuts subjects out, "" where none does (see `truth.identity`).
    Raises ModelError for a model that is not there or not pinned.
    """
    require_pinned_models("metrics", settings.encoders)
    if settings.segmenter is not None:
        require_pinned_models("metrics.segmenter_models", settings.segmenter_models)
    models = {kind: _identity(name) for kind, name in settings.encoders.items()}
    rest = {name: value for name, value in settings.as_dict().items() if name not in models}
    if settings.segmenter is None:
        rest = {}
    elif segmenter:  # by content: the path of the file may be another one on each machine
        others = {name: model for name, model in settings.segmenter_models.items() if name != "u2net"}
        rest |= {"segmenter_models": others, "segmenter_file": segmenter}
    return ids.of_values("metrics", version=METRICS_VERSION, models=models, segments=rest)


def gate_identity(gate: QualitySettings, *, segmenter: str = "") -> str:
    """sha256 of all that decides which try similarity chooses. Raises ModelError for an encoder that may change.

    segmenter: as in `fingerprint`.
    """
    metrics = gate.used_metrics
    if metrics is not None:
        require_pinned_models("quality.metrics", metrics.encoders)
    return ids.of_values(
        "quality",
        version=GATE_VERSION,
        image=[gate.image_metric, gate.min_image] if gate.min_image is not None else None,
        text=[gate.text_metric, gate.min_text] if gate.min_text is not None else None,
        tries=gate.tries,
        keep=gate.keep,
        metrics=fingerprint(metrics, segmenter=segmenter) if metrics is not None else None,
    )


def require_pinned_models(where: str, models: Mapping[str, str]) -> None:
    """Raises ModelError for a hub id without a commit: its numbers could change under the same name.

    where: the setting that holds `models`; {name: folder, `mini`, hub id, or the type of a packaged segmenter}.
    """
    for name, value in models.items():
        if name == "lang-sam":
            continue  # a type of SAM, whose weights the package names
        model = locate_model(value, embedded=mini_folder() / "clip")
        if model is not None:
            require_pinned(
                model,
                where=f"{where}: model '{value[:200]}'",
                reason="its results could change under the same name",
                setting=f"{where}.{name} to owner/name@commit,",
            )


def _identity(name: str) -> str:
    model = locate(name)
    if model.folder is None:
        return f"{model.hub}@{model.revision}"
    return ids.of_values("encoder", files=hash_files(model.folder, sorted(model.folder.iterdir())))
