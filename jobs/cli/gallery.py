"""dreamcache gallery."""

from __future__ import annotations

import getpass
from contextlib import suppress
from typing import Annotated

import typer

from jobs.cli.common import echo, output_of, print_json
from jobs.cli.options import Json, Place

EXAMPLES = (
    "dreamcache gallery job.yaml",
    "dreamcache gallery s3://bucket/jobs/autumn --serve --reviewer ana",
)


def gallery(
    place: Place,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page here and record its verdicts, until Ctrl-C.")
    ] = False,
    host: Annotated[str, typer.Option(help="With --serve: the address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="With --serve: 0 for a free one.", min=0, max=65535)] = 0,
    host_name: Annotated[
        list[str], typer.Option(help="With --serve: a further name that browsers call this host by.")
    ] = [],
    reviewer: Annotated[
        str | None, typer.Option(help="With --serve: who decides, if the page names nobody. Default: you.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the gallery page again, or serve it.

    A served page reads an S3 output with this process's credentials, and writes verdicts straight into the review log.
    The address that it prints holds a token: who has it can review.
    """
    from jobs.gallery import ITEM_LIMIT
    from jobs.output.folder import OutputFolder
    from jobs.output.publish_gallery import publish_gallery
    from jobs.output.reader import first_outputs

    output = output_of(place)
    if serve:
        _serve(
            output, host, port, tuple(host_name), _user() if reviewer is None else reviewer.strip(), as_json
        )
        return
    folder = OutputFolder(output)
    rows, _ = first_outputs(folder.uri, ITEM_LIMIT)
    page = publish_gallery(folder.read_summary(), rows, folder)
    if as_json:
        print_json({"gallery": page})
    else:
        echo(page)


def _serve(output: str, host: str, port: int, names: tuple[str, ...], reviewer: str, as_json: bool) -> None:
    from jobs.review.serve import serve

    def say(address: str) -> None:
        if as_json:
            print_json({"address": address})
        else:
            echo(f"review at {address}\nCtrl-C ends it; verdicts are recorded as they are given")

    serve(output, host=host, port=port, names=names, reviewer=reviewer, on_ready=say)


def _user() -> str:
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""
