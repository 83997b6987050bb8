"""dreamcache gallery."""

from __future__ import annotations

import getpass
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.common import JOB_FILES, echo, load, output_of, print_json
from jobs.cli.options import Json, Place

if TYPE_CHECKING:
    from dreamcache.storage.roots import Roots

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

    Of an output without its job file, photos outside the folder are shown as the run's own page shows them.
    A served page reads an S3 output with this process's credentials, and writes verdicts straight into the review log.
    The address that it prints holds a token: who has it can review.
    """
    from jobs.gallery import ITEM_LIMIT
    from jobs.output.folder import OutputFolder
    from jobs.output.publish_gallery import publish_gallery
    from jobs.output.reader import first_outputs

    output, roots = output_of(place), _roots(place)
    if serve:
        name = _user() if reviewer is None else reviewer.strip()
        _serve(output, roots, host, port, tuple(host_name), name, as_json)
        return
    folder = OutputFolder(output)
    rows, _ = first_outputs(folder.uri, ITEM_LIMIT)
    page = publish_gallery(folder.read_summary(), rows, folder, roots=roots)
    if as_json:
        print_json({"gallery": page})
    else:
        echo(page)


def _roots(place: str) -> Roots | None:
    """By the job file; an output folder states none that could be believed."""
    from dreamcache.storage.roots import roots_of_job

    return roots_of_job(load(place, ())) if place.endswith(JOB_FILES) else None


def _serve(
    output: str,
    roots: Roots | None,
    host: str,
    port: int,
    names: tuple[str, ...],
    reviewer: str,
    as_json: bool,
) -> None:
    from jobs.review.serve import serve

    def say(address: str) -> None:
        if as_json:
            print_json({"address": address})
        else:
            echo(f"review at {address}\nCtrl-C ends it; verdicts are recorded as they are given")

    serve(output, roots=roots, host=host, port=port, names=names, reviewer=reviewer, on_ready=say)


def _user() -> str:
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""
