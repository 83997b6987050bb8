"""`dreamcache bench`: measurements of the program itself."""

from __future__ import annotations

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
