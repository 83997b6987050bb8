"""dreamcache cache ls | show | verify | gc: looking after stored features."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from jobs.cli.common import JSON_HELP, cache_of, human_bytes, print_json, print_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Root = Annotated[str, typer.Argument(help="The job file, or the cache folder or s3:// URI.")]
Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]


@app.command()
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
        columns,
        [
            [row["cache_key"][:16], row["base"], human_bytes(row["num_bytes"]), row["modified"]]
            for row in rows
        ],
    )
    typer.echo(f"{len(rows)} references, {human_bytes(sum(row['num_bytes'] for row in rows))}")


@app.command()
def show(
    root: Root,
    key: Annotated[str, typer.Argument(help="A cache key or its first digits.")],
    as_json: Json = False,
) -> None:
    """Show one reference's features: settings, places, shapes."""
    from dreamcache.core.errors import CacheError
    from dreamcache.storage.feature_cache import list_entries, read_entry

    found = [entry for entry in list_entries(cache_of(root)) if entry.cache_key.startswith(key)]
    if len(found) != 1:
        raise CacheError(f"cache key '{key}': must name one reference in {root}, names {len(found)}")
    features = read_entry(found[0])
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
        [[p, v["shape"], v["dtype"], human_bytes(len(features.maps[p].data))] for p, v in places.items()],
    )


@app.command()
def verify(root: Root, as_json: Json = False) -> None:
    """Read every object and check its checksum; exit code 3 when some are damaged."""
    from dreamcache.storage.feature_cache import verify_entries

    found = list(verify_entries(cache_of(root)))
    checked = len(found)
    damaged = [{"uri": entry.uri, "message": str(error)} for entry, error in found if error is not None]
    if as_json:
        print_json({"checked": checked, "damaged": damaged})
    else:
        for item in damaged:
            typer.echo(f"damaged: {item['uri']}: {item['message']}")
        typer.echo(
            f"{checked} checked, {len(damaged)} damaged"
            + ("; they are encoded again when needed" if damaged else "")
        )
    raise typer.Exit(3 if damaged else 0)


@app.command()
def gc(
    root: Root,
    older_than_days: Annotated[float, typer.Option(help="Only objects written before so many days.")] = 30,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete; without it, only say what would go.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete old features. Nothing is lost but time: a job that needs one encodes it again."""
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
            f"{len(old)} objects, {human_bytes(size)} {'deleted' if delete else 'would be deleted; add --delete'}"
        )
