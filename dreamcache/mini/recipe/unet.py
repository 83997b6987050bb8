"""Stage unet: base and adapters together from random weights."""

from dreamcache.mini.recipe.joint import Rules
from dreamcache.mini.recipe.settings import Settings
from dreamcache.mini.recipe.train import Stage, train


def run(settings: Settings) -> None:
    stage = Stage(name="unet", minutes=settings.unet_minutes, rate=settings.unet_lr, rules=Rules())
    train(settings, stage)
