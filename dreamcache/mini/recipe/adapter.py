"""Stage adapter: the base frozen at its averaged weights, the adapters alone go on."""

from dreamcache.mini.recipe import checkpoints
from dreamcache.mini.recipe.joint import Rules
from dreamcache.mini.recipe.settings import Settings
from dreamcache.mini.recipe.train import Stage, train


def run(settings: Settings) -> None:
    state = checkpoints.read(settings.folder("unet") / "last.pt")
    if state is None:
        raise FileNotFoundError(f"{settings.work / 'unet'}: no last.pt yet; run --stage unet first")
    stage = Stage(
        name="adapter",
        minutes=settings.adapter_minutes,
        rate=settings.adapter_lr,
        train_base=False,
        rules=Rules(drop_image=0.0, drop_both=0.0, foreground=2.0),
    )
    train(settings, stage, start=state["average"])
