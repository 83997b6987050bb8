"""dreamcache export --preset: images and feed for a sales channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from jobs.cli.common import check_choice, load, output_of

if TYPE_CHECKING:
    from jobs.channels.options import ChannelExport

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


DryRun = Annotated[bool, typer.Option("--dry-run", help="With --preset: write the report alone.")]


class ChannelFlags(NamedTuple):
    """What `export` was given of the options above."""

    base_url: str | None
    upscale: bool
    cut_out: str | None
    unsigned: bool
    dry_run: bool
    quiet: bool


def channel_export(
    place: str, target: str, preset: str, where: Mapping[str, str], flags: ChannelFlags
) -> ChannelExport:
    """Exports as a preset says. Raises DreamCacheError."""
    from jobs.channels import ChannelOptions, export_channel, load_preset, segmenter

    check_choice("--cut-out", flags.cut_out, CUT_OUTS)
    # The job.yaml of an output folder may come from anyone, and names commands that sign.
    settings = load(place, ()).provenance if place.endswith((".yaml", ".yml")) else None
    options = ChannelOptions(
        base_url=flags.base_url,
        upscale=flags.upscale,
        cut_out=segmenter(flags.cut_out) if flags.cut_out else None,
        c2pa=settings.c2pa if settings else None,
        unsigned=flags.unsigned,
        dry_run=flags.dry_run,
        quiet=flags.quiet,
    )
    return export_channel(output_of(place), target, load_preset(preset), where=where, options=options)


def channel_lines(result: ChannelExport) -> Iterator[str]:
    """What a person reads of it."""
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
