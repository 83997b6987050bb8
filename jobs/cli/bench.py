"""`dreamcache bench`: measurements of the program itself."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dreamcache.core.texts import shown
from jobs.cli.common import add_verb, echo, print_json, print_table, settings_of
from jobs.cli.options import Json, Set

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
MOST_ITEMS = 1_000_000_000
SIZES = "10000,100000,1000000"


@add_verb(app, "scale", ("dreamcache bench scale --items 10000,100000",))
def scale(
    items: Annotated[str, typer.Option(help="Catalog sizes in items, with commas between.")] = SIZES,
    as_json: Json = False,
) -> None:
    """Time plan, resume and manifest of large catalogs.

    Without a model: time per item and peak memory for several sizes.
    """
    from jobs.bench.scale import ITEMS_PER_SUBJECT, STEPS, measure_sizes

    try:
        sizes = [int(size) for size in items.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"--items must be whole numbers with commas between, got {shown(items)}"
        ) from error
    if any(not ITEMS_PER_SUBJECT <= size <= MOST_ITEMS or size % ITEMS_PER_SUBJECT for size in sizes):
        raise typer.BadParameter(
            f"--items must be multiples of {ITEMS_PER_SUBJECT} and at most {MOST_ITEMS:,}, got {shown(items)}"
        )
    results = list(measure_sizes(sizes))
    if as_json:
        print_json([measured.as_dict() for measured in results])
        return
    columns = ["items", *(f"{step} s" for step in STEPS), *(f"{step} us/item" for step in STEPS), "peak MiB"]
    rows = [
        [
            f"{measured.items}",
            *(f"{measured.seconds[step]:.1f}" for step in STEPS),
            *(f"{measured.microseconds_per_item(step):.1f}" for step in STEPS),
            f"{measured.peak_bytes / 2**20:.0f}",
        ]
        for measured in results
    ]
    print_table(columns, rows)


@add_verb(app, "overhead", ("dreamcache bench overhead --items 200 --rounds 1",))
def overhead(
    items: Annotated[int, typer.Option(help="Images of each arm, in batches of 8.", min=64)] = 400,
    rounds: Annotated[int, typer.Option(help="How often the arms take turns.", min=1)] = 3,
    steps: Annotated[int, typer.Option(help="Sampling steps; fewer make the rest weigh more.", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """Compare a job's speed with a bare loop's.

    On the embedded model; and two one-thread workers with one.
    """
    import tempfile

    from jobs.bench.overhead import measure_overhead

    with tempfile.TemporaryDirectory(prefix="dreamcache-bench-") as folder:
        result = measure_overhead(Path(folder), items=items, rounds=rounds, steps=steps)
    if as_json:
        print_json(result.as_dict())
        return
    rows = [[arm, *(f"{speed:.3f}" for speed in speeds)] for arm, speeds in result.images_per_s.items()]
    print_table(["images/s", *(f"round {number + 1}" for number in range(rounds))], rows)
    echo(f"one worker against the bare loop: {result.one_to_bare:.3f}")
    echo(f"two workers against one: {result.two_to_one:.3f} (two bare loops: {result.two_bare_to_bare:.3f})")


@add_verb(app, "speed", ("dreamcache bench speed --rounds 5",))
def speed(
    rounds: Annotated[int, typer.Option(help="How often the arms take turns.", min=1)] = 12,
    gpu: Annotated[bool, typer.Option(help="Measure this machine's GPU too, where it has one.")] = True,
    as_json: Json = False,
) -> None:
    """Compare an image's cost with plain diffusers and IP-Adapter.

    FLOPs counted at SD 2.1's size, the host cost of a step, and on a GPU images/s and peak memory; random weights.
    """
    from jobs.bench.speed import measure_speed

    report = measure_speed(rounds=rounds, gpu=gpu)
    if as_json:
        print_json(report.as_dict())
    else:
        echo(report.markdown())


@add_verb(app, "loader", ("dreamcache bench loader", "dreamcache bench loader train.yaml --loaders 0,4,8"))
def loader(
    file: Annotated[
        str | None, typer.Argument(help="A training file; without one, rendered samples.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples read in each round.", min=12, max=1_000_000)] = 96,
    loaders: Annotated[
        str, typer.Option(help="Numbers of loader processes with commas between; 0 is the training's own.")
    ] = "0,1,2,4",
    step_s: Annotated[
        float | None,
        typer.Option(help="Seconds of a training step; without it, as the file's output states.", min=0.001),
    ] = None,
    settings: Set = [],
    as_json: Json = False,
) -> None:
    """Measure how fast training samples are read.

    Samples a second, by this process and by loaders, and their share of a training step; no model runs.
    """
    import tempfile

    from jobs.bench.loader import COLUMNS, measure_rendered, measure_training
    from jobs.train.spec import load_train_spec

    counts = _numbers(loaders)
    if file is not None:
        spec = load_train_spec(file, settings_of(settings))
        report = measure_training(spec, samples=samples, loaders=counts, step_s=step_s)
    else:
        with tempfile.TemporaryDirectory(prefix="dreamcache-bench-") as folder:
            report = measure_rendered(Path(folder), samples=samples, loaders=counts, step_s=step_s)
    if as_json:
        print_json(report.as_dict())
        return
    print_table(list(COLUMNS), report.table())
    echo(report.summary())


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 4 and int(part) <= 256 for part in parts):
        raise typer.BadParameter(
            f"--loaders must be numbers from 0 to 256 with commas between, got {shown(text)}"
        )
    return [int(part) for part in parts]


@add_verb(app, "segment", ("dreamcache bench segment --segmenters auto,grabcut",))
def segment(
    images: Annotated[int, typer.Option(help="Photos of each kind of ground.", min=1, max=100_000)] = 48,
    size: Annotated[int, typer.Option(help="Side of a photo in pixels.", min=32, max=4096)] = 256,
    segmenters: Annotated[str, typer.Option(help="Names with commas between.")] = "auto,alpha,grabcut,none",
    seed: Annotated[int, typer.Option(help="Seed of products, poses and scenes.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Measure segmenters where the true mask is known.

    IoU on rendered products, on transparent, white, plain and textured ground. The segmenters `grounded-sam` and
    `lang-sam` can be named too, where their weights are.
    """
    from dreamcache.evaluation.segmentation import measure_segmenters

    cuts = list(measure_segmenters(segmenters.split(","), count=images, size=size, seed=seed))
    if as_json:
        print_json([asdict(cut) for cut in cuts])
        return
    rows = [
        [
            cut.segmenter,
            cut.ground,
            f"{cut.iou.mean:.3f}",
            "-" if cut.iou.bounds is None else f"{cut.iou.low:.3f} to {cut.iou.high:.3f}",
            f"{cut.found}/{cut.photos}",
            f"{1000 * cut.seconds:.0f}",
        ]
        for cut in cuts
    ]
    print_table(["segmenter", "ground", "mean IoU", "95 % interval", "found", "ms an image"], rows)
