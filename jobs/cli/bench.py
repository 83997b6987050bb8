"""`dreamcache bench`: measurements of the program itself."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.common import JSON_HELP, print_json, print_table

app = typer.Typer(no_args_is_help=True)
SIZES = "10000,100000,1000000"


@app.callback()
def group() -> None:
    """Measurements of the program itself, on this machine."""


@app.command()
def scale(
    items: Annotated[str, typer.Option(help="Catalog sizes in items, with commas between.")] = SIZES,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Plan, resume and manifest of catalogs of several sizes, without a model: time per item and peak memory."""
    from jobs.bench.scale import ITEMS_PER_SUBJECT, STEPS, measure_sizes

    try:
        sizes = [int(size) for size in items.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"--items must be whole numbers with commas between, got {items!r}"
        ) from error
    if any(size < ITEMS_PER_SUBJECT or size % ITEMS_PER_SUBJECT for size in sizes):
        raise typer.BadParameter(f"--items must be multiples of {ITEMS_PER_SUBJECT}, got {items!r}")
    found = list(measure_sizes(sizes))
    if as_json:
        print_json([measured.as_dict() for measured in found])
        return
    columns = ["items", *(f"{step} s" for step in STEPS), *(f"{step} us/item" for step in STEPS), "peak MiB"]
    rows = [
        [
            f"{measured.items}",
            *(f"{measured.seconds[step]:.1f}" for step in STEPS),
            *(f"{measured.microseconds_per_item(step):.1f}" for step in STEPS),
            f"{measured.peak_bytes / 2**20:.0f}",
        ]
        for measured in found
    ]
    print_table(columns, rows)


@app.command()
def overhead(
    items: Annotated[int, typer.Option(help="Images of each arm, in batches of 8.", min=64)] = 400,
    rounds: Annotated[int, typer.Option(help="How often the arms take turns.", min=1)] = 3,
    steps: Annotated[int, typer.Option(help="Sampling steps; fewer make the rest weigh more.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """A job's images/s on `mini` against a bare loop's, and two one-thread workers' against one's."""
    from jobs.bench.overhead import measure_overhead

    with tempfile.TemporaryDirectory(prefix="dreamcache-bench-") as folder:
        found = measure_overhead(Path(folder), items=items, rounds=rounds, steps=steps)
    if as_json:
        print_json(found.as_dict())
        return
    rows = [[arm, *(f"{speed:.3f}" for speed in speeds)] for arm, speeds in found.images_per_s.items()]
    print_table(["images/s", *(f"round {number + 1}" for number in range(rounds))], rows)
    typer.echo(f"one worker against the bare loop: {found.one_to_bare:.3f}")
    typer.echo(
        f"two workers against one: {found.two_to_one:.3f} (two bare loops: {found.two_bare_to_bare:.3f})"
    )


@app.command()
def segment(
    images: Annotated[int, typer.Option(help="Photos of each kind of ground.", min=1)] = 48,
    size: Annotated[int, typer.Option(help="Side of a photo in pixels.", min=32)] = 256,
    segmenters: Annotated[str, typer.Option(help="Names with commas between.")] = "auto,alpha,grabcut,none",
    seed: Annotated[int, typer.Option(help="Of products, poses and scenes.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """IoU of segmenters where the truth is known: drawn products on transparent, white, plain and textured ground.

    The segmenters `grounded-sam` and `lang-sam` can be named too, where their weights are.
    """
    from dreamcache.evaluation.segmentation import measure_segmenters

    found = list(measure_segmenters(segmenters.split(","), count=images, size=size, seed=seed))
    if as_json:
        print_json([asdict(cut) for cut in found])
        return
    rows = [
        [
            cut.segmenter,
            cut.ground,
            f"{cut.iou.mean:.3f}",
            f"{cut.iou.low:.3f} to {cut.iou.high:.3f}",
            f"{cut.found}/{cut.photos}",
            f"{1000 * cut.seconds:.0f}",
        ]
        for cut in found
    ]
    print_table(["segmenter", "ground", "mean IoU", "95 % interval", "found", "ms an image"], rows)
