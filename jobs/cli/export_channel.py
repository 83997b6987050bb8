"""dreamcache export --preset: images and feed for a sales channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from jobs.cli.common import check_choice, echo, load, output_of, print_json

if TYPE_CHECKING:
    from jobs.channels.export import ChannelExport

CUT_OUTS = ("grabcut", "u2net")

Preset = Annotated[
    str | None,
    typer.Option(help="A channel's rules: amazon-main, google-merchant, shopify, etsy, or a YAML file."),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(help="With --preset: the address below which TARGET will be published; the feed needs it."),
]
Upscale = Annotated[
    bool, typer.Option("--upscale", help="With --preset: enlarge small images to the channel's size.")
]
CutOut = Annotated[
    str | None,
    typer.Option(help="With --preset: cut the subject out onto white by this segmenter, grabcut or u2net."),
]
Unsigned = Annotated[
    bool,
    typer.Option("--unsigned", help="With --preset: keep XMP, and do not sign again what was signed (C2PA)."),
]


def channel_export(
    place: str,
    target: str,
    preset: str,
    *,
    where: Mapping[str, str],
    base_url: str | None,
    upscale: bool,
    cut_out: str | None,
    unsigned: bool,
    dry_run: bool,
    ok_with_failures: bool,
    quiet: bool,
    as_json: bool,
) -> NoReturn:
    """Exports, prints and ends the command. Raises DreamCacheError."""
    from jobs.channels.export import Options, export_channel, segmenter
    from jobs.channels.preset import load_preset

    check_choice("--cut-out", cut_out, CUT_OUTS)
    # The job.yaml of an output folder may come from anyone, and names commands that sign.
    settings = load(place, ()).provenance if place.endswith((".yaml", ".yml")) else None
    result = export_channel(
        output_of(place),
        target,
        load_preset(preset),
        where=where,
        options=Options(
            base_url=base_url,
            upscale=upscale,
            cut_out=segmenter(cut_out) if cut_out else None,
            c2pa=settings.c2pa if settings else None,
            unsigned=unsigned,
            dry_run=dry_run,
            quiet=quiet or as_json,
        ),
    )
    if as_json:
        print_json(result.as_dict())
    else:
        echo("\n".join(_lines(result)))
    raise typer.Exit(0 if result.is_clean or ok_with_failures else 3)


def _lines(result: ChannelExport) -> Iterator[str]:
    yield (
        f"{result.target}: {result.accepted} images for {result.channel}, {result.refused} refused, "
        f"{result.surplus} more than the channel takes, {result.lost} lost"
    )
    feed = f"{result.feed}: {result.feed_rows} rows" if result.feed else "no feed: --base-url is needed"
    yield f"{feed}; report.csv has every image and rule"
    for rule, count in result.breaches.items():
        yield f"{count:6d}  {rule}"
    for refusal in result.first:
        yield f"refused: {refusal}"
    if result.skipped:
        listed = ", ".join(f"{count} {status}" for status, count in result.skipped.items())
        yield f"skipped, since they have no image: {listed}"
