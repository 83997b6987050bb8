"""The synthesis file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Knows the names of settings (`dreamcache.core.config.synthesize`); knows nothing of what they do. Never imports torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from dreamcache.core.config import FORBID_UNKNOWN
from dreamcache.core.config.job import WorkerSpec
from dreamcache.core.config.synthesize import (
    CaptionSettings,
    DatasetSettings,
    FilterSettings,
    MaskSettings,
    PictureSettings,
)
from jobs.spec_file import SpecFile, anchor, anchor_model


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthWorkersSpec:
    """Actors of each stage; the filter runs where the command runs."""

    captions: WorkerSpec = WorkerSpec(cpus=1)
    images: WorkerSpec = WorkerSpec(cpus=1)
    masks: WorkerSpec = WorkerSpec(cpus=1)
    dataset: WorkerSpec = WorkerSpec(cpus=1)

    __pydantic_config__ = FORBID_UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthSpec:
    """A synthesis: captions -> filter -> images -> masks -> dataset, all below `output`.

    seed: of captions, noise and split.
    """

    name: str
    output: str
    seed: int = 0
    captions: CaptionSettings = CaptionSettings()
    filter: FilterSettings = FilterSettings()
    images: PictureSettings = PictureSettings()
    masks: MaskSettings = MaskSettings()
    dataset: DatasetSettings = DatasetSettings()
    workers: SynthWorkersSpec = SynthWorkersSpec()

    __pydantic_config__ = FORBID_UNKNOWN

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ValueError(f"name must be 1-100 letters, digits, '.', '_' or '-', got {self.name!r}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")


def _anchored(spec: SynthSpec, folder: Path) -> SynthSpec:
    def model(name: str | None) -> str | None:
        return None if name is None else anchor_model(name, folder)

    models = {name: anchor_model(value, folder) for name, value in spec.masks.segmenter_models.items()}
    return replace(
        spec,
        output=anchor(spec.output, folder),
        captions=replace(spec.captions, model=model(spec.captions.model)),
        images=replace(spec.images, model=model(spec.images.model)),
        masks=replace(spec.masks, segmenter_models=models),
    )


_FILE = SpecFile(SynthSpec, "synthesis", remedy="see docs/synthesis.md", anchored=_anchored)
load_synth_spec, parse_synth_spec, dump_synth_spec = _FILE.load, _FILE.parse, _FILE.dump
