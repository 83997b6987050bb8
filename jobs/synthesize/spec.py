"""The synthesis file: YAML parsed once into frozen values; unknown keys are errors with "did you mean".

Knows the names of settings (`dreamcache.core.config.synthesize`); knows nothing of what they do. Never imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core.config.fields import Name, ZeroOrMore
from dreamcache.core.config.job import WorkerSpec
from dreamcache.core.config.rules import Settings
from dreamcache.core.config.synthesize import (
    CaptionSettings,
    DatasetSettings,
    FilterSettings,
    MaskSettings,
    PictureSettings,
)
from dreamcache.core.locations import Written
from jobs.spec_file import SpecFile


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthWorkersSpec(Settings):
    """Actors of each stage; the filter runs where the command runs."""

    captions: WorkerSpec = WorkerSpec(cpus=1)
    images: WorkerSpec = WorkerSpec(cpus=1)
    masks: WorkerSpec = WorkerSpec(cpus=1)
    dataset: WorkerSpec = WorkerSpec(cpus=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthSpec(Settings):
    """A synthesis: captions -> filter -> images -> masks -> dataset, all below `output`.

    seed: of captions, noise and split.
    """

    name: Name
    output: Written
    seed: ZeroOrMore = 0
    captions: CaptionSettings = CaptionSettings()
    filter: FilterSettings = FilterSettings()
    images: PictureSettings = PictureSettings()
    masks: MaskSettings = MaskSettings()
    dataset: DatasetSettings = DatasetSettings()
    workers: SynthWorkersSpec = SynthWorkersSpec()


_FILE = SpecFile(SynthSpec, "synthesis", remedy="see docs/synthesis.md")
load_synth_spec, parse_synth_spec, dump_synth_spec = _FILE.load, _FILE.parse, _FILE.dump
