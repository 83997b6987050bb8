"""Where a model named in the settings is: a folder of this machine, the embedded model, or the hub at a revision.

Every reader of model names (base models, encoders, families, synthesis) looks here. Knows names only; reads no files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dreamcache.core.errors import ModelError
from dreamcache.core.locations import is_uri

MINI = "mini"
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelLocation:
    """One of two: `folder` is on this machine, or `hub` is a hub id (owner/name) at `revision` (None: newest)."""

    folder: Path | None = None
    hub: str = ""
    revision: str | None = None

    @property
    def location(self) -> str:
        """The folder or the hub id, as diffusers and transformers take it."""
        return str(self.folder) if self.folder is not None else self.hub

    @property
    def is_pinned(self) -> bool:
        """Whether the name always means the same files: a folder, or a revision that is a commit."""
        return self.folder is not None or COMMIT.fullmatch(self.revision or "") is not None


def mini_folder() -> Path:
    """The embedded model's diffusers folder."""
    return Path(__file__).parents[2] / "mini" / "weights"


def locate(name: str, revision: str | None = None, *, embedded: Path | None = None) -> ModelLocation | None:
    """What a name means, or None for a name of no known form.

    name: `mini` where there is an `embedded` folder, a folder, or a hub id, `owner/name` or `owner/name@revision`.
    """
    if name == MINI and embedded is not None:
        return ModelLocation(folder=embedded) if embedded.is_dir() else None
    try:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return ModelLocation(folder=folder)
    except (OSError, RuntimeError, ValueError):  # too long, a null byte, or the home of nobody
        return None
    hub, has_revision, named = name.rpartition("@")
    hub, named_revision = (hub, named) if has_revision else (name, None)
    if name.startswith((".", "/", "~")) or hub.count("/") != 1 or is_uri(name):
        return None
    return ModelLocation(hub=hub, revision=revision or named_revision)


def require_pinned(model: ModelLocation, *, where: str, reason: str, setting: str) -> None:
    """Raises ModelError unless the model always means the same files.

    where: what the message begins with, e.g. "model 'owner/name'"; setting: which key takes the commit.
    """
    if not model.is_pinned:
        raise ModelError(
            f"{where}: a hub id needs a pinned revision, else {reason}; set {setting} to a commit (40 hex digits), "
            f"got {model.revision!r}"
        )
