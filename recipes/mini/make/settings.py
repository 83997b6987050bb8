"""Settings of the recipe: every number that decides what is trained, in one place.

The settings of a work folder are kept in it, so the folder alone resumes its training. Knows numbers and one file.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamcache.mini.world.design import HELD_OUT_FROM

SIZE = 64
LATENT = 16
FILE = "settings.json"
_FIXED = (
    "latent_channels",
    "designs",
    "vae_designs",
    "scenes_per_design",
    "shard",
    "held_out",
    "held_out_from",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a run of the recipe works with.

    Budgets are in minutes. On a CPU they count the time that the processor worked for us (`Clock`), so a training
    at idle priority beside other work receives what it would have received alone.
    """

    work: Path
    device: str = "auto"  # auto, cpu, cuda
    threads: int = 2
    processes: int = 2

    designs: int = 100_000
    scenes_per_design: int = 4
    shard: int = 2_000
    held_out: int = 600
    held_out_from: int = HELD_OUT_FROM

    latent_channels: int = 16
    vae_designs: int = 8_000  # rendered to disk; all others are rendered where they are encoded
    vae_minutes: float = 60.0
    vae_batch: int = 8
    vae_lr: float = 1e-3
    vae_object_weight: float = 3.0  # of the object and its rim; the background weighs 1
    refine_minutes: float = 60.0
    refine_lr: float = 5e-4
    gate_psnr: float = 32.0  # dB on held-out pictures
    gate_object_psnr: float = 29.0  # dB on their objects
    clip_minutes: float = 20.0
    clip_batch: int = 96
    unet_minutes: float = 1440.0
    unet_batch: int = 48  # pictures of one step, over all processes
    unet_lr: float = 1e-3
    unet_object_weight: float = 3.0
    drop_image: float = 0.10
    calm_share: float = 1 / 3  # of the training and of the designs: no mirroring, small turns
    adapter_designs: int = 24_000
    adapter_steps: int = 1_000
    adapter_lr: float = 2e-4
    checkpoint_minutes: float = 1.0
    validate_minutes: float = 15.0
    validated: int = 24  # held-out designs of a validation

    weights: Path = Path("weights")  # where export writes; relative paths are inside `work`

    def folder(self, name: str) -> Path:
        """A folder inside the work folder; it exists afterwards."""
        path = self.work / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def target(self) -> Path:
        """The folder of the exported model."""
        return self.work / self.weights


def resume(work: Path, changes: Mapping[str, Any]) -> Settings:
    """The settings of a work folder with `changes`, written back to it.

    Raises ValueError where a change would not fit what the folder holds already.
    """
    file = work / FILE
    stored: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for name in _FIXED:
        if name in stored and name in changes and changes[name] != stored[name]:
            raise ValueError(
                f"{file}: {name} is {stored[name]} and cannot become {changes[name]}: finished stages depend on it; "
                "use another work folder"
            )
    values = {name: value for name, value in stored.items() if name in _NAMES} | dict(changes)
    values |= {"work": work, "weights": Path(values.get("weights", "weights"))}
    settings = Settings(**values)
    work.mkdir(parents=True, exist_ok=True)
    kept = {name: str(v) if isinstance(v, Path) else v for name, v in dataclasses.asdict(settings).items()}
    kept.pop("work")
    file.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    return settings


_NAMES = tuple(field.name for field in dataclasses.fields(Settings))
