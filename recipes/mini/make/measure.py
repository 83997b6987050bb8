"""Stage measure: the benchmark of the exported weights, and the curve over training."""

from recipes.mini.make import checkpoints
from recipes.mini.make.settings import Settings
from recipes.mini.measure import benchmark, curve


def run(settings: Settings) -> None:
    """Write measure/benchmark.json, .md and .jpg, and measure/curve-*.svg. Needs the extra `measure`."""
    checkpoints.prepare(settings)
    folder = settings.folder("measure")
    benchmark.run(folder, benchmark.Sizes(), weights=str(settings.target))
    print((folder / "benchmark.md").read_text("utf-8"), flush=True)
    points = settings.folder("unet") / "curve.jsonl"
    if points.exists():
        curve.run(points, folder, settings.unet_batch)
