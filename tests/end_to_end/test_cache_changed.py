"""A shared cache whose objects were swapped, damaged or emptied: the job's images equal an undisturbed run's."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dreamcache.storage.feature_cache import list_entries
from tests.command import dreamcache, write_job
from tests.corpus.kind import all_kinds
from tests.corpus.pictures import photo
from tests.end_to_end.photos import write_catalog

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CHANGES = (
    ("cache/swapped", "under the right key"),
    ("cache/not-finite", "one NaN"),
    ("cache/places", "last missing"),
    ("cache/damaged", "in the middle"),
)


def images_of(output: Path) -> dict[str, str]:
    rows = pq.read_table(output / "manifest.parquet").to_pylist()
    assert {row["status"] for row in rows} == {"done"}
    return {row["item_id"]: row["pixel_sha256"] for row in rows}


def change(cache: Path) -> None:
    """Each of the first objects in its way; the last subject's object is what others are swapped with."""
    entries = sorted(list_entries(str(cache)), key=lambda entry: entry.cache_key)
    inputs = {(kind.name, name): write for kind in all_kinds() for name, write in kind.inputs.items()}
    for number, chosen in enumerate(CHANGES):
        pair = cache.parent / f"pair{number}"
        pair.mkdir()
        for when, entry in enumerate((entries[number], entries[-1]), start=1):
            shutil.copy(entry.uri, pair)
            os.utime(pair / Path(entry.uri).name, ns=(when, when))
        inputs[chosen](pair)
        shutil.copy(pair / Path(entries[number].uri).name, entries[number].uri)


def test_images_equal_those_of_an_undisturbed_run(tmp_path: Path, tiny_model: dict[str, str]) -> None:
    rows = []
    for number in range(len(CHANGES) + 1):
        photo(64 + number, 48).save(tmp_path / f"{number}.png")
        rows.append({"subject_id": f"s{number}", "image": f"{number}.png"})
    catalog = write_catalog(tmp_path, rows)
    options = {"catalog": catalog, "prompts": ["a photo of a {class_name}"], "model": tiny_model}
    options["reference"] = {"dtype": "float16"}  # as the corpus has it
    job = write_job(tmp_path, output="output", **options)
    first = dreamcache("run", job)
    assert first.returncode == 0, first.stderr
    wanted = images_of(tmp_path / "output")

    cache = tmp_path / "output-cache"
    change(cache)
    verified = json.loads(dreamcache("cache", "verify", str(cache), "--json").stdout)
    assert verified["checked"] == 5 and len(verified["damaged"]) == 2, "NaN, and a damaged byte"
    shutil.move(tmp_path / "output", tmp_path / "before")
    again = dreamcache("run", job)
    assert again.returncode == 0, again.stderr
    assert images_of(tmp_path / "output") == wanted
    assert "4 references were encoded again" in again.stdout
    assert "cached features were not used" in again.stderr
    assert json.loads((tmp_path / "output" / "status.json").read_text())["details"]["encoded_again"] == 4
    shutil.rmtree(tmp_path / "output")
    third = dreamcache("run", job, "--json")
    assert json.loads(third.stdout)["encoded_again"] == 0, "they were stored again"
