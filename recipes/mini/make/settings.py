"""Settings of the recipe: every number that decides what is trained, in one place."""

from dataclasses import dataclass
from pathlib import Path

from dreamcache.mini.world.design import HELD_OUT_FROM

SIZE = 64
LATENT = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a run of the recipe works with. Times are budgets in minutes of wall clock."""

    work: Path
    device: str = "cpu"
    threads: int = 2
    processes: int = 2

    designs: int = 24_000
    scenes_per_design: int = 2
    shard: int = 2_000
    held_out: int = 600
    held_out_from: int = HELD_OUT_FROM

    vae_minutes: float = 16.0
    vae_batch: int = 6
    refine_minutes: float = 26.0
    refine_lr: float = 6e-4
    clip_minutes: float = 6.0
    clip_batch: int = 96
    unet_minutes: float = 600.0
    unet_batch: int = 48
    unet_lr: float = 1e-3
    adapter_steps: int = 1_000
    adapter_lr: float = 2e-4
    checkpoint_minutes: float = 5.0

    def folder(self, name: str) -> Path:
        path = self.work / name
        path.mkdir(parents=True, exist_ok=True)
        return path
