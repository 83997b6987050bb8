"""Stage unet: base and adapters together from random weights."""

from recipes.mini.make.joint import Rules
from recipes.mini.make.settings import Settings
from recipes.mini.make.train import Stage, train


def run(settings: Settings) -> None:
    stage = Stage(name="unet", minutes=settings.unet_minutes, rate=settings.unet_lr, rules=Rules())
    train(settings, stage)
