"""dreamcache cache ls | show | verify | gc: looking after stored features."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import add_verb, cache_of, print_json, print_table
from jobs.cli.options import Json, finite
from jobs.formatting import format_bytes, format_count

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Root = Annotated[str, typer.Argument(help="The job file, or the cache folder or s3:// URI.")]


@add_verb(app, "ls", ("dreamcache cache ls job.yaml", "dreamcache cache ls s3://bucket/features --json"))
def ls(root: Root, as_json: Json = False) -> None:
    """List cached features: key, base model, size, age."""
    from dreamcache.storage.feature_cache import list_entries

    entries = sorted(list_entries(cache_of(root)), key=lambda entry: entry.cache_key)
    columns = ("cache_key", "base", "num_bytes", "modified")
    rows = [{name: getattr(entry, name) for name in columns} for entry in entries]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("cache_key", "base", "size", "modified"),
        [
            [
                entry.cache_key[:16],
                entry.base,
                format_bytes(entry.num_bytes),
                f"{entry.modified:%Y-%m-%d %H:%M}",
            ]
            for entry in entries
        ],
    )
    typer.echo(
        f"{format_count(len(rows), 'reference')}, {format_bytes(sum(row['num_bytes'] for row in rows))}"
    )


@add_verb(app, "show", ("dreamcache cache show job.yaml 3fa9c2",))
def show(
    root: Root,
    key: Annotated[str, typer.Argument(help="A cache key or its first digits.")],
    as_json: Json = False,
) -> None:
    """Show one reference's features: settings, places, shapes."""
    from dreamcache.core.errors import CacheError
    from dreamcache.storage.feature_cache import list_entries, read_entry

    matches = [entry for entry in list_entries(cache_of(root)) if entry.cache_key.startswith(key)]
    if len(matches) != 1:
        raise CacheError(f"cache key '{key}': must name one reference in {root}, names {len(matches)}")
    features = read_entry(matches[0])
    places = {
        place: {"shape": raw.shape, "dtype": raw.dtype, "num_bytes": len(raw.data)}
        for place, raw in features.maps.items()
    }
    value = {
        "cache_key": features.cache_key,
        "reference_id": features.reference_id,
        "base_fingerprint": features.base_fingerprint,
        "settings": features.settings,
        "places": places,
        "num_bytes": sum(len(raw.data) for raw in features.maps.values()),
    }
    if as_json:
        print_json(value)
        return
    for name in ("cache_key", "reference_id", "base_fingerprint", "settings"):
        typer.echo(f"{name}: {value[name]}")
    print_table(
        ("place", "shape", "dtype", "size"),
        [[p, v["shape"], v["dtype"], format_bytes(len(features.maps[p].data))] for p, v in places.items()],
    )


@add_verb(app, "verify", ("dreamcache cache verify s3://bucket/features",))
def verify(root: Root, as_json: Json = False) -> None:
    """Check every object: checksum, numbers and seal.

    The seal counts where DREAMCACHE_CACHE_KEY_SECRET is set. Exit code 3 when some are damaged, or do not carry it.
    """
    from dreamcache.storage.feature_cache import verify_entries
    from dreamcache.storage.feature_seal import UNSEALED

    checked = 0
    faults: dict[str, list[dict[str, str]]] = {"damaged": [], "unsealed": []}
    for entry, error in verify_entries(cache_of(root)):
        checked += 1
        if error is not None:
            kind = "unsealed" if error.code == UNSEALED else "damaged"
            faults[kind].append({"uri": entry.uri, "message": str(error)})
    if as_json:
        print_json({"checked": checked, **faults})
    else:
        for kind, items in faults.items():
            for item in items:
                typer.echo(f"{kind}: {item['uri']}: {item['message']}")
        counts = ", ".join(f"{len(items)} {kind}" for kind, items in faults.items())
        outlook = "; they are encoded again when needed" if any(faults.values()) else ""
        typer.echo(f"{checked} checked, {counts}{outlook}")
    raise typer.Exit(3 if any(faults.values()) else 0)


@add_verb(
    app, "gc", ("dreamcache cache gc job.yaml", "dreamcache cache gc job.yaml --older-than-days 90 --delete")
)
def gc(
    root: Root,
    older_than_days: Annotated[
        float,
        typer.Option(help="Only objects written before so many days.", min=0, max=36_500, callback=finite),
    ] = 30,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete; without it, only list what would go.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete old features.

    Nothing is lost but time: a job that needs one encodes it again.
    """
    from datetime import UTC, datetime, timedelta

    from dreamcache.storage.feature_cache import delete_entry, list_entries

    limit = datetime.now(UTC) - timedelta(days=older_than_days)
    old = [entry for entry in list_entries(cache_of(root)) if entry.modified < limit]
    if delete:
        for entry in old:
            delete_entry(entry)
    size = sum(entry.num_bytes for entry in old)
    if as_json:
        print_json({"deleted": delete, "objects": [entry.uri for entry in old], "num_bytes": size})
    else:
        typer.echo(
            f"{len(old)} objects, {format_bytes(size)} {'deleted' if delete else 'would be deleted; add --delete'}"
        )
