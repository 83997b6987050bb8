"""dreamcache detect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.common import check_place, echo, output_of, print_json
from jobs.cli.options import Json

if TYPE_CHECKING:
    from dreamcache.provenance.detect import Detection

EXAMPLES = (
    "dreamcache detect photo.jpg --job job.yaml",
    "dreamcache detect downloads/ --job s3://bucket/jobs/autumn --job s3://bucket/jobs/winter --json",
    "dreamcache detect s3://bucket/uploads --certificate earlier-chain.pem",
)


def detect(
    place: Annotated[str, typer.Argument(help="An image, a folder, or an s3:// URI or prefix.")],
    job: Annotated[
        list[str],
        typer.Option(help="Job file or output whose images and certificate are yours. May be repeated."),
    ] = [],
    certificate: Annotated[
        list[str], typer.Option(help="PEM chain of an earlier certificate of yours. May be repeated.")
    ] = [],
    trust: Annotated[
        list[str], typer.Option(help="PEM file of authorities whose signatures count as valid.")
    ] = [],
    as_json: Json = False,
) -> None:
    """Say which marks of generated images files hold.

    And whether this operator generated them.

    A file without marks may be generated all the same. Exit codes: 0 all made by this operator, 5 some marked by
    others, 6 some without mark, 7 some changed after signing, 3 some not readable; of several the latter in this order.
    """
    from dreamcache.provenance.detect import exit_code
    from jobs.detect import detect_all, open_sources

    check_place(place)
    sources = open_sources([output_of(one) for one in job], certificates=certificate, anchors=trust)
    for note in sources.notes:
        typer.echo(f"note: {note}", err=True)
    detections = []
    for detection in detect_all(place, sources):
        detections.append(detection)
        if not as_json:
            _show(detection)
    if as_json:
        print_json([detection.as_dict() for detection in detections])
    raise typer.Exit(exit_code(detections))


def _show(detection: Detection) -> None:
    echo(f"{detection.name}: {detection.verdict}")
    statement, c2pa, nearest = detection.xmp, detection.c2pa, detection.nearest
    if statement is not None:
        parts = (
            (statement.source_type or "no source type").rpartition("/")[2],
            statement.creator_tool,
            f"item {statement.item_id[:12]}" if statement.item_id else None,
        )
        echo(f"  XMP     {', '.join(part for part in parts if part)}")
    else:
        echo("  XMP     absent")
    facts = (c2pa.state, f"signed by {c2pa.signer}" if c2pa.signer else None, c2pa.action, *c2pa.problems)
    yours = "this operator's certificate" if c2pa.by_operator else None
    echo(f"  C2PA    {', '.join(part for part in (*facts, yours) if part)}")
    if detection.invisible is not None:
        mark = detection.invisible
        yours = ", this operator's" if mark.is_operators else ""
        echo(f"  pixels  {mark.agreeing} of 32 bits are {mark.operator}, by chance {mark.chance:.1g}{yours}")
    if nearest is not None:
        same = f"the same picture, by its {nearest.decided_by}" if nearest.is_same else "another picture"
        echo(
            f"  ledger  nearest {nearest.item_id[:12]} of {nearest.output}, distance {nearest.distance}: {same}"
        )
    if detection.problem:
        echo(f"  {detection.problem}")
