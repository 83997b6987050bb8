"""Where an encoder's weights are and what they are called, without torch: folder, hub id, or the embedded CLIP.

Knows files and names only.
"""

from __future__ import annotations

from dreamcache.core import ids
from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.errors import ModelError
from dreamcache.storage.models.files import hash_files
from dreamcache.storage.models.lookup import ModelLocation, mini_folder
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
            f"metrics: model '{name}': must be 'mini', a folder or a hub id 'owner/name' or 'owner/name@revision'; "
            f"got none of these"
        )
    return model


def fingerprint(settings: MetricSettings) -> str:
    """sha256 of all that decides a score besides the image: encoders by content, segmenter, version."""
    models = {kind: _identity(name) for kind, name in settings.encoders.items()}
    rest = {name: value for name, value in settings.as_dict().items() if name not in models}
    if settings.segmenter is None:
        rest = {}
    return ids.of_values("metrics", version=METRICS_VERSION, models=models, segments=rest)


def gate_identity(gate: QualitySettings) -> str:
    """sha256 of all that decides which try is chosen. Raises ModelError for an encoder that may change."""
    for name in gate.used_metrics.encoders.values():
        model = locate(name)
        if model.folder is None and model.revision is None:
            raise ModelError(
                f"quality.metrics: model '{name}': must be 'mini', a folder or a hub id with a revision "
                f"('owner/name@commit'), got no revision; its scores decide which images pass"
            )
    return ids.of_values(
        "quality",
        version=GATE_VERSION,
        image=[gate.image_metric, gate.min_image] if gate.min_image is not None else None,
        text=[gate.text_metric, gate.min_text] if gate.min_text is not None else None,
        tries=gate.tries,
        keep=gate.keep,
        metrics=fingerprint(gate.used_metrics),
    )


def _identity(name: str) -> str:
    model = locate(name)
    if model.folder is None:
        # Unpinned, the hub may change it under the same name; the report names it so that a reader can see it.
        return f"{model.hub}@{model.revision or 'unpinned'}"
    return ids.of_values("encoder", files=hash_files(model.folder, sorted(model.folder.iterdir())))
