"""Command line of the recipe: python -m recipes.mini.make --stage STAGE --work DIR --device cpu|cuda."""

import argparse
import dataclasses
import importlib
from pathlib import Path

from recipes.mini.make.settings import Settings

TRAINING = ("data", "vae", "refine", "clip", "latents", "unet", "export", "adapter", "measure")
STAGES = (*TRAINING, "warm", "grid", "evaluate", "all")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.mini.make", description=__doc__)
    parser.add_argument("--stage", choices=STAGES, default="all")
    for field in dataclasses.fields(Settings):
        kind = Path if field.name == "work" else type(field.default)
        default = Path(".mini") if field.name == "work" else field.default
        parser.add_argument("--" + field.name.replace("_", "-"), type=kind, default=default)
    values = vars(parser.parse_args())
    stage = values.pop("stage")
    settings = Settings(**values)
    for name in TRAINING if stage == "all" else (stage,):
        importlib.import_module(f"recipes.mini.make.{name}").run(settings)


if __name__ == "__main__":
    main()
