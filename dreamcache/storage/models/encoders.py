"""Where an encoder's weights are and what they are called, without torch: folder, hub id, or the embedded CLIP.

Knows files and names only.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from dreamcache.core import ids
from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.errors import ModelError
from dreamcache.storage.models.artifacts import MINI, mini_folder

METRICS_VERSION = 1
"""Raised when a release changes scores for the same settings."""

GATE_VERSION = 1
"""Raised when a release keeps other images for the same settings of the quality gate."""


def locate(name: str) -> tuple[str, str | None]:
    """(folder or hub id, revision) of an encoder's name; `mini` is the embedded CLIP. Raises ModelError."""
    if name == MINI:
        return str(mini_folder() / "clip"), None
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder), None
    hub, at, revision = name.rpartition("@")
    hub = hub if at else name
    if name.startswith((".", "/", "~")) or hub.count("/") != 1:
        raise ModelError(
            f"metrics: model '{name}': must be 'mini', a folder or a hub id 'owner/name' or 'owner/name@revision'; "
            f"got none of these"
        )
    return hub, (revision if at else None)


def fingerprint(settings: MetricSettings) -> str:
    """sha256 of all that decides a score besides the image: encoders by content, segmenter, version."""
    models = {kind: _identity(name) for kind, name in settings.encoders.items()}
    rest = {name: value for name, value in settings.as_dict().items() if name not in models}
    if settings.segmenter is None:
        rest = {}
    return ids.of_values("metrics", version=METRICS_VERSION, models=models, segments=rest)


def gate_identity(gate: QualitySettings) -> str:
    """sha256 of all that decides which try is kept. Raises ModelError for an encoder that may change."""
    for name in gate.used_metrics.encoders.values():
        place, revision = locate(name)
        if "/" in place and not place.startswith("/") and revision is None:
            raise ModelError(
                f"quality.metrics: model '{name}': must be 'mini', a folder or a hub id with a revision "
                f"('owner/name@commit'), got no revision; its scores decide which images are kept"
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
    location, revision = locate(name)
    folder = Path(location)
    if not folder.is_dir():
        # Unpinned, the hub may change it under the same name; the report names it so that a reader can tell.
        return f"{location}@{revision or 'unpinned'}"
    files = sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".txt"))
    return ids.of_values("encoder", files={path.name: _hash(path) for path in files})


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
