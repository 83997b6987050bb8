"""Files that the product writes itself, damaged or forged: features, ledger parts, prune lists, manifests.

A random change breaks a file's seal and is refused at once. So most inputs are read as a recipe: good tables with
some of their values, types and columns replaced, sealed again as a forger would.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris
import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core.records import Blocked, Done, Failed
from dreamcache.storage.feature_file import ROWS, from_parquet
from dreamcache.storage.ledger import LEDGER_SCHEMA, Ledger, to_row
from dreamcache.storage.pruned import SCHEMA as PRUNE_SCHEMA
from dreamcache.storage.pruned import Pruned
from dreamcache.storage.sealed_parquet import seal
from jobs.export.export import export_outputs
from jobs.output.attributes import Attributes
from jobs.output.manifest import manifest_schema
from jobs.output.reader import first_outputs, scan_outputs
from tests.fuzz.target import Read, Target, only_our_errors

HEX = "0123456789abcdef" * 4
TEXTS = (
    "",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "images/00/" + HEX + ".png",
    "\x00",
    "\u202e",
    "done",
    "lost",
    HEX,
)
NUMBERS = (0, 1, -1, 2**31 - 1, 2**31, 2**63 - 1, -(2**63), float("nan"), float("inf"), 1e308)
TYPES = (
    pa.string(),
    pa.large_string(),
    pa.int8(),
    pa.int64(),
    pa.float64(),
    pa.bool_(),
    pa.binary(),
    pa.null(),
)
LEDGER = [
    to_row(
        Done(
            item_id=HEX, key=f"images/01/{HEX}.png", width=64, height=64, num_bytes=10, pixel_sha256=HEX, attempts=1,
            seconds=0.5, device="cpu",
        )
    ),
    to_row(Failed(item_id=HEX[::-1], code="bad_image", message="m", attempts=2)),
    to_row(Blocked(item_id="f" * 64, code="low_quality", message="m", attempts=3)),
]  # fmt: skip
FEATURES = [
    {
        "place": "mid_block.attentions.0", "dtype": "float16", "shape": [1, 2, 2], "data": b"\0" * 8, "sha256": HEX,
    }
]  # fmt: skip
PRUNE = [{"item_id": HEX, "key": f"images/01/{HEX}.png", "attempts": 101}]
LABELS = {"dreamcache.schema": "dreamcache.ledger/2"}


def forged(data: bytes, rows: list[dict[str, Any]], schema: pa.Schema, metadata: dict[str, str]) -> bytes:
    """A sealed file after the recipe in `data`."""
    recipe = atheris.FuzzedDataProvider(data)
    table = pa.Table.from_pylist(rows * recipe.ConsumeIntInRange(0, 3), schema=schema)
    for _ in range(recipe.ConsumeIntInRange(0, 4)):
        index = recipe.ConsumeIntInRange(0, table.num_columns - 1) if table.num_columns else 0
        action = recipe.ConsumeIntInRange(0, 4)
        if action == 0 and table.num_columns:
            table = table.remove_column(index)
        elif action == 1:
            table = table.append_column(_text(recipe), pa.nulls(table.num_rows))
        elif table.num_columns:
            table = _replaced(table, index, recipe)
    if recipe.ConsumeBool() and metadata:
        key = recipe.PickValueInList(sorted(metadata))
        metadata = {**metadata, key: _text(recipe)}
    return seal(table, metadata)


def _replaced(table: pa.Table, index: int, recipe: atheris.FuzzedDataProvider) -> pa.Table:
    """The table with a column of other values, of the same type where they fit."""
    field = table.schema.field(index)
    number = recipe.ConsumeBool()
    value = recipe.PickValueInList(list(NUMBERS)) if number else _text(recipe)
    kind = field.type if recipe.ConsumeBool() else recipe.PickValueInList(list(TYPES))
    try:
        column = pa.array([value] * table.num_rows, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        column = pa.nulls(table.num_rows, field.type)
    return table.set_column(index, pa.field(field.name, column.type), column)


def _text(recipe: atheris.FuzzedDataProvider) -> str:
    if recipe.ConsumeBool():
        return recipe.PickValueInList(list(TEXTS))
    return recipe.ConsumeUnicodeNoSurrogates(20)


def _recipes(folder: Path) -> list[bytes]:
    return [bytes([n]) * length for n in (0, 1, 7, 60, 255) for length in (4, 16, 64)]


def _file_or_recipe(data: bytes, file: bytes, build: Callable[[bytes], bytes]) -> bytes:
    """One input in eight is the good file with bytes replaced, the others are recipes."""
    if data[:1] < b"\x20":
        position = int.from_bytes(data[1:4], "little") % len(file)
        return file[:position] + data[4:] + file[position + len(data) - 4 :]
    return build(data[1:])


def _features(folder: Path) -> Read:
    metadata = {
        "dreamcache.schema": "dreamcache.features/1", "dreamcache.cache_key": HEX, "dreamcache.reference_id": HEX,
        "dreamcache.base_fingerprint": HEX, "dreamcache.settings": json.dumps({"timestep": 1}),
    }  # fmt: skip
    good = forged(b"\xff" * 3, FEATURES, ROWS, metadata)

    def read(data: bytes) -> None:
        file = _file_or_recipe(data, good, lambda recipe: forged(recipe, FEATURES, ROWS, metadata))
        with only_our_errors():
            from_parquet(file, HEX, where="features")

    return read


def _ledger(folder: Path) -> Read:
    ledger = Ledger(str(folder / "output"))
    path = folder / "output" / "ledger" / f"part-{HEX}.parquet"
    path.parent.mkdir(parents=True)
    metadata = {"dreamcache.schema": "dreamcache.ledger/2"}
    good = forged(b"", LEDGER, LEDGER_SCHEMA, metadata)

    def read(data: bytes) -> None:
        path.write_bytes(
            _file_or_recipe(data, good, lambda recipe: forged(recipe, LEDGER, LEDGER_SCHEMA, metadata))
        )
        with only_our_errors():
            ledger.outcomes()

    return read


def _prunes(folder: Path) -> Read:
    pruned = Pruned(str(folder / "output"))
    path = folder / "output" / "ledger" / f"pruned-{HEX}.parquet"
    path.parent.mkdir(parents=True)
    metadata = {"dreamcache.schema": "dreamcache.pruned/1"}
    good = forged(b"", PRUNE, PRUNE_SCHEMA, metadata)

    def read(data: bytes) -> None:
        path.write_bytes(
            _file_or_recipe(data, good, lambda recipe: forged(recipe, PRUNE, PRUNE_SCHEMA, metadata))
        )
        with only_our_errors():
            pruned.limits()
        with only_our_errors():
            for uri in pruned.unfinished():
                pruned.read(uri)

    return read


def _manifest(folder: Path) -> Read:
    """Read as `outputs` and `export --to csv` read it."""
    output = folder / "output"
    output.mkdir()
    path = output / "manifest.parquet"
    schema = manifest_schema(Attributes(types={"colour": pa.string()}))
    rows = [{**row, "subject_id": "1", "prompt": "p", "colour": "red"} for row in LEDGER]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out)
    good = out.getvalue()

    def read(data: bytes) -> None:
        path.write_bytes(_file_or_recipe(data, good, lambda recipe: forged(recipe, rows, schema, {})))
        with only_our_errors():
            first_outputs(str(output), 5, status="done")
        with only_our_errors():
            for _ in scan_outputs(str(output)):
                pass
        with only_our_errors():
            export_outputs(str(output), str(folder / "manifest.csv"), form="csv", quiet=True)

    return read


TARGETS = [
    Target(name="features", seeds=_recipes, reader=_features),
    Target(name="ledger", seeds=_recipes, reader=_ledger),
    Target(name="prunes", seeds=_recipes, reader=_prunes),
    Target(name="manifest", seeds=_recipes, reader=_manifest),
]
