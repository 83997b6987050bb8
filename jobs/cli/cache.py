"""dreamcache cache ls | show | verify | gc: looking after stored features."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from jobs.cli.common import JSON_HELP, human_bytes, print_json, print_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Root = Annotated[str, typer.Argument(help="The cache folder or s3:// URI (`cache:` of the job file).")]
Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]


@app.command()
def ls(root: Root, as_json: Json = False) -> None:
    """List cached features: key, base model, size, age."""
    from dreamcache.storage.feature_cache import list_entries

    entries = sorted(list_entries(root), key=lambda entry: entry.cache_key)
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
    from dreamcache.errors import CacheError
    from dreamcache.storage.feature_cache import from_parquet, list_entries
    from dreamcache.storage.filesystem import store_for

    found = [entry for entry in list_entries(root) if entry.cache_key.startswith(key)]
    if len(found) != 1:
        raise CacheError(f"cache key '{key}': must name one reference in {root}, names {len(found)}")
    features = from_parquet(store_for(root).read(found[0].uri), expected_key=found[0].cache_key)
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
    from dreamcache.errors import CacheError
    from dreamcache.storage.feature_cache import from_parquet, list_entries
    from dreamcache.storage.filesystem import store_for

    store = store_for(root)
    damaged, checked = [], 0
    for entry in list_entries(root):
        checked += 1
        try:
            from_parquet(store.read(entry.uri), expected_key=entry.cache_key)
        except CacheError as error:
            damaged.append({"uri": entry.uri, "message": str(error)})
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
    from dreamcache.storage.feature_cache import list_entries
    from dreamcache.storage.filesystem import store_for

    limit = datetime.now(UTC) - timedelta(days=older_than_days)
    old = [entry for entry in list_entries(root) if entry.modified < limit]
    if delete:
        for entry in old:
            store_for(root).delete(entry.uri)
    size = sum(entry.num_bytes for entry in old)
    if as_json:
        print_json({"deleted": delete, "objects": [entry.uri for entry in old], "num_bytes": size})
    else:
        typer.echo(
            f"{len(old)} objects, {human_bytes(size)} {'deleted' if delete else 'would be deleted; add --delete'}"
        )
