"""Command line of the measurements: python -m recipes.mini.measure WHAT --work DIR.

Exit codes: 0 done, 1 error, 4 stopped by --minutes: the same command resumes.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

import torch

from dreamcache.core.errors import DreamCacheError
from recipes.mini.measure.generate import OutOfTimeError

STOPPED = 4


def main() -> int:
    """Run one measurement; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m recipes.mini.measure", description=__doc__)
    parser.add_argument("what", choices=("benchmark", "tools", "grid", "strength", "ablation", "curve"))
    parser.add_argument("--work", type=Path, default=Path(".mini/measure"))
    parser.add_argument("--weights", default="mini", help="benchmark: 'mini' or an exported folder")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop generating after so many")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of generation: benchmark, ablation",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--subjects", type=int, default=100, help="benchmark: designs of all classes")
    parser.add_argument("--class-subjects", type=int, default=50, help="benchmark: designs of one class")
    parser.add_argument("--scenes", type=int, default=4, help="benchmark: pictures of each design")
    parser.add_argument("--steps", type=int, default=400, help="ablation: training steps of each adapter")
    parser.add_argument("--job", type=Path, help="grid: output folder of a job run by dreamcache run")
    parser.add_argument("--points", type=Path, help="curve: curve.jsonl of the recipe's U-Net stage")
    parser.add_argument("--batch", type=int, default=48, help="curve: pictures of one step")
    parser.add_argument("--to", type=Path, help="grid, strength: the picture's file; curve: a folder")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        _run(parser, options, time.monotonic() + options.minutes * 60)
    except OutOfTimeError as remaining:
        print(f"stopped after {options.minutes:g} minutes: {remaining}; the same command resumes", flush=True)
        return STOPPED
    except DreamCacheError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace, until: float) -> None:
    if options.what in ("benchmark", "tools"):
        from recipes.mini.measure import benchmark

        if options.what == "tools":
            benchmark.Tools.load(options.work / "tools")
            return
        sizes = benchmark.Sizes(
            subjects=options.subjects, class_subjects=options.class_subjects, scenes=options.scenes
        )
        benchmark.run(options.work, sizes, weights=options.weights, dtype=options.dtype, until=until)
        print((options.work / "benchmark.md").read_text("utf-8"), flush=True)
    elif options.what == "ablation":
        from recipes.mini.measure import ablation

        ablation.run(options.work, steps=options.steps, dtype=options.dtype, until=until)
        print((options.work / "ablation.md").read_text("utf-8"), flush=True)
    elif options.what == "curve":
        from recipes.mini.measure import curve

        if options.points is None:
            parser.error("curve: --points is needed: the curve.jsonl of the recipe's U-Net stage")
        curve.run(options.points, options.to or options.work, options.batch)
    else:
        from recipes.mini.measure import sheets

        if options.what == "grid" and options.job is None:
            parser.error("grid: --job is needed: the output folder of a job run by dreamcache run")
        if options.what == "grid":
            sheets.grid(options.job, options.to or options.work / "grid.jpg")
        else:
            sheets.strength(options.to or options.work / "strength.jpg", options.work)


if __name__ == "__main__":
    sys.exit(main())
