"""dreamcache gallery."""

from __future__ import annotations

from jobs.cli.common import echo, output_of, print_json
from jobs.cli.options import Json, Place

EXAMPLES = ("dreamcache gallery job.yaml",)


def gallery(place: Place, as_json: Json = False) -> None:
    """Write the gallery page again, and print where it is."""
    from jobs.gallery import ITEM_LIMIT
    from jobs.output.folder import OutputFolder
    from jobs.output.publish_gallery import publish_gallery
    from jobs.output.reader import first_outputs

    folder = OutputFolder(output_of(place))
    rows, _ = first_outputs(folder.uri, ITEM_LIMIT)
    page = publish_gallery(folder.read_summary(), rows, folder)
    if as_json:
        print_json({"gallery": page})
    else:
        echo(page)
