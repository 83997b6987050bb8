"""Command line of the measurements: python -m recipes.mini.measure WHAT --work DIR.

Exit codes: 0 done, 1 error, 4 stopped by --minutes: the same command goes on.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

import torch

from dreamcache.core.errors import DreamCacheError
from recipes.mini.measure.drawing import OutOfTimeError

STOPPED = 4


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.mini.measure", description=__doc__)
    parser.add_argument("what", choices=("benchmark", "grid", "strength", "ablation", "curve"))
    parser.add_argument("--work", type=Path, default=Path(".mini/measure"))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop drawing after so many")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="of drawing: benchmark, ablation"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--subjects", type=int, default=100, help="benchmark: designs of all classes")
    parser.add_argument("--class-subjects", type=int, default=50, help="benchmark: designs of one class")
    parser.add_argument("--scenes", type=int, default=4, help="benchmark: pictures of each design")
    parser.add_argument("--steps", type=int, default=400, help="ablation: training steps of each adapter")
    parser.add_argument("--job", type=Path, help="grid: output folder of a job run by dreamcache run")
    parser.add_argument("--points", type=Path, help="curve: curve.jsonl of the recipe's U-Net stage")
    parser.add_argument("--batch", type=int, default=48, help="curve: pictures of one step")
    parser.add_argument("--to", type=Path, help="grid, strength, curve: the picture's file")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        _run(parser, given, time.monotonic() + given.minutes * 60)
    except OutOfTimeError as rest:
        print(f"stopped after {given.minutes:g} minutes: {rest}; the same command goes on", flush=True)
        return STOPPED
    except DreamCacheError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(parser: argparse.ArgumentParser, given: argparse.Namespace, until: float) -> None:
    if given.what == "benchmark":
        from recipes.mini.measure import benchmark

        sizes = benchmark.Sizes(
            subjects=given.subjects, class_subjects=given.class_subjects, scenes=given.scenes
        )
        benchmark.run(given.work, sizes, dtype=given.dtype, until=until)
        print((given.work / "benchmark.md").read_text("utf-8"), flush=True)
    elif given.what == "ablation":
        from recipes.mini.measure import ablation

        ablation.run(given.work, steps=given.steps, dtype=given.dtype, until=until)
        print((given.work / "ablation.md").read_text("utf-8"), flush=True)
    elif given.what == "curve":
        from recipes.mini.measure import curve

        if given.points is None:
            parser.error("curve: --points is needed: the curve.jsonl of the recipe's U-Net stage")
        curve.run(given.points, given.to or given.work / "curve.svg", given.batch)
    else:
        from recipes.mini.measure import sheets

        if given.what == "grid" and given.job is None:
            parser.error("grid: --job is needed: the output folder of a job run by dreamcache run")
        if given.what == "grid":
            sheets.grid(given.job, given.to or given.work / "grid.jpg")
        else:
            sheets.strength(given.to or given.work / "strength.jpg", given.work)


if __name__ == "__main__":
    sys.exit(main())
