"""Command line of the recipe: python -m recipes.mini.make --stage STAGE --work DIR."""

import argparse
import dataclasses
import importlib
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from recipes.mini.make.settings import Settings, resume

TRAINING = ("data", "vae", "refine", "clip", "latents", "unet", "export", "adapter", "measure")
STAGES = (*TRAINING, "ship", "warm", "grid", "evaluate", "all")


def main() -> None:
    """Runs one stage or all; settings that are not on the command line are those of the work folder."""
    parser = argparse.ArgumentParser(prog="python -m recipes.mini.make", description=__doc__)
    parser.add_argument("--stage", choices=STAGES, default="all")
    parser.add_argument("--work", type=Path, default=Path(".mini"))
    for field in dataclasses.fields(Settings):
        if field.name != "work":
            flag = "--" + field.name.replace("_", "-")
            parser.add_argument(flag, type=type(field.default), help=f"default {field.default}")
    values = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    stage, work = values.pop("stage"), values.pop("work")
    work.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(work / "lock", blocking=False)
        with lock:
            _run(resume(work, values), stage)
    except Timeout:
        sys.exit(
            f"{work}: another process trains in this folder; wait for it or end it, then run the same command"
        )


def _run(settings: Settings, stage: str) -> None:
    for name in TRAINING if stage == "all" else (stage,):
        importlib.import_module(f"recipes.mini.make.{name}").run(settings)


if __name__ == "__main__":
    main()
