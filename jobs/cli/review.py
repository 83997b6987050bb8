"""dreamcache review."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from jobs.cli.common import check_place, echo, output_of, print_json
from jobs.cli.options import Json, Place

EXAMPLES = (
    "dreamcache review job.yaml review.csv",
    "dreamcache review s3://bucket/jobs/autumn review.csv --reviewer ana",
    "dreamcache review job.yaml settled.csv --reviewer lead --final",
    "dreamcache review job.yaml",
)
SHOWN = 20
NOT_RECORDED = 3


def review(
    place: Place,
    file: Annotated[
        str | None,
        typer.Argument(
            help="Verdicts as the gallery hands them out: a CSV file or s3:// URI. None: only count."
        ),
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Who decided, for rows that name nobody.")] = "",
    final: Annotated[
        bool, typer.Option("--final", help="These verdicts settle what others decided before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Record what reviewers decided, from review.csv.

    Verdicts are added and never changed; where reviewers differ, the item is in conflict and is neither exported with
    --approved nor retried with --rejected. Exit code 3: some rows were not recorded.
    """
    from jobs.review.record import record
    from jobs.review.verdict_file import read_verdicts

    output = output_of(place)
    rows = []
    if file is not None:
        check_place(file)
        rows = list(read_verdicts(file))
    result = record(output, rows, reviewer=reviewer.strip(), is_final=final).as_dict()
    _end(output, file, result, as_json)


def _end(output: str, file: str | None, result: Mapping[str, Any], as_json: bool) -> None:
    from dreamcache.storage.reviews import Reviews
    from jobs.review.counts import count_reviews
    from jobs.review.record import conflict_of

    Reviews(output).compact()
    standings = Reviews(output).standings().items()
    conflicts = [conflict_of(item_id, one) for item_id, one in standings if one.state == "conflict"]
    counts = count_reviews(output)
    if as_json:
        print_json({**result, "conflicts": conflicts, "counts": counts})
    else:
        echo("\n".join(_lines(file, result, conflicts, counts)))
    raise typer.Exit(NOT_RECORDED if result["problems"] else 0)


def _lines(
    file: str | None, result: Mapping[str, Any], conflicts: list[dict[str, Any]], counts: Mapping[str, int]
) -> list[str]:
    lines = []
    if file is not None:
        lines.append(
            f"{result['recorded']} recorded, {result['repeated']} were recorded already, "
            f"{len(result['problems'])} not recorded"
        )
    for one in result["problems"][:SHOWN]:
        item = f" item '{one['item_id']}'" if one["item_id"] else ""
        lines.append(f"not recorded: {file} row {one['row']}{item}: {one['message']}")
    lines += _more(result["problems"])
    for one in conflicts[:SHOWN]:
        names = ", ".join(f"{name} {decision}" for name, decision in one["verdicts"].items())
        lines.append(f"conflict: item {one['item_id']} of subject '{one['subject_id']}': {names}")
    lines += _more(conflicts)
    if conflicts:
        lines.append("one of them may decide again, or --final settles it")
    lines.append("review: " + "  ".join(f"{name} {count}" for name, count in counts.items()))
    return lines


def _more(some: list[dict[str, Any]]) -> list[str]:
    return [f"... and {len(some) - SHOWN} more; --json shows all"] if len(some) > SHOWN else []
