"""Stage measure: the benchmark of the weights in the package, and the curve over training."""

from dreamcache.mini.measure import benchmark, curve
from dreamcache.mini.recipe import checkpoints
from dreamcache.mini.recipe.settings import Settings


def run(settings: Settings) -> None:
    """Writes measure/benchmark.json, .md and .jpg, and measure/curve.svg. Needs the extra `measure`."""
    checkpoints.prepare(settings)
    folder = settings.folder("measure")
    benchmark.run(folder, benchmark.Sizes())
    print((folder / "benchmark.md").read_text("utf-8"), flush=True)
    points = settings.folder("unet") / "curve.jsonl"
    if points.exists():
        curve.run(points, folder / "curve.svg", settings.unet_batch)
