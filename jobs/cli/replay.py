"""dreamcache replay."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import echo, output_of, print_json
from jobs.cli.options import PLACE_HELP, Json

EXAMPLES = (
    "dreamcache replay 3fa9c2 --output job.yaml",
    "dreamcache replay 3fa9c2 --output s3://bucket/jobs/autumn --save replayed --attention where.png",
)


def replay(
    item: Annotated[str, typer.Argument(help="An item id, or as many of its first digits as name one.")],
    output: Annotated[str, typer.Option(help=PLACE_HELP)],
    save: Annotated[
        str | None, typer.Option(help="Folder or s3:// URI for the replayed image and a side by side.")
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(help="A PNG to write: where each place of the adapter looked in the reference."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Generate one image again from its record, and compare.

    Runs in this process. Exit code 1 if the images differ by more than 1/255.
    """
    from jobs.output.replay import BOUND
    from jobs.output.replay import replay as replay_item

    result = replay_item(output_of(output), item, save=save, attention=attention)
    if as_json:
        print_json(result.as_dict())
    else:
        is_photo = result.features == "photo"
        source = "its photo" if is_photo else "cached features, since its photo is gone or changed"
        echo(
            f"item {result.item_id[:12]} of subject '{result.subject_id}' replayed from {source} on {result.device}"
        )
        verdict = "equal" if not result.max_difference else "within" if result.within_bound else "beyond"
        echo(
            f"largest difference {result.max_difference}/255 ({verdict}, bound {BOUND}/255), "
            f"{100 * result.differing:.2f} % of pixels differ"
        )
        for uri in result.saved:
            echo(f"saved: {uri}")
    raise typer.Exit(0 if result.within_bound else 1)
