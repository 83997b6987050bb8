"""Stage unet: base and adapters together from random weights, calm designs first."""

from recipes.mini.make import checkpoints, latents
from recipes.mini.make.settings import Settings
from recipes.mini.make.train import Phase, progress, train


def run(settings: Settings) -> None:
    """Train until the budget is spent; encodes a phase's designs before it begins. Resumes."""
    phases = [Phase(parts=("calm", "full"), until=1.0)]
    if settings.calm_share:
        phases.insert(0, Phase(parts=("calm",), until=settings.calm_share))
    for phase in phases:
        if progress(settings) < phase.until:
            checkpoints.prepare(settings)
            latents.encode(settings, phase.parts)
            train(settings, phase)
