"""Bad rows and photos, each in a job with good ones: only itself is lost, with its reason.

One run of the real command over one catalog; a test for each kind of bad input reads what came of it.
"""

from __future__ import annotations

import csv
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dreamcache.storage.feature_cache import read_entry
from dreamcache.storage.stored_features import RawTensor
from tests.command import dreamcache, write_job
from tests.end_to_end.photos import write_broken_photos, write_catalog, write_strange_photos

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.turns(unit="module")]

PROMPT = "a photo of a {class_name}"
SOUND = ("plain.png", "cmyk.jpg", "8-bit.png", "16-bit.png", "palette.png", "animated.gif", "animated.webp")
IDS = ("a/b/../c", "..", "Été 水 🫖", "=1+1", "x" * 200)
LONG_PROMPT = "a very long prompt " * 20

BROKEN = {
    "missing.png": ("missing_image", "must be an existing file, got none; check the path"),
    "zero.png": ("empty_file", "an image file cannot be empty, got 0 bytes; upload it again"),
    "truncated.jpg": ("truncated_image", "the file must be complete, got one that ends early"),
    "text.png": ("not_an_image", "not an allowed format (png, jpeg, webp, gif, tiff, bmp, avif), got text"),
    "1x1.png": ("too_small", "each side must have at least 8 pixels, got 1x1"),
    "20000x20000.png": ("too_large", "at most 50,000,000 pixels are allowed, got"),
    "http://shop.example/a.png": ("bad_image_uri", "must be a path, an s3:// URI or an https:// address"),
}


@dataclass(frozen=True)
class Ran:
    job: str
    done: subprocess.CompletedProcess[str]
    output: Path
    rows: list[dict[str, Any]]
    failed: list[dict[str, str]]

    def items(self, subject: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["subject_id"] == subject]

    def failure(self, subject: str) -> dict[str, str]:
        [row] = [row for row in self.failed if row["subject_id"] == subject]
        return row

    def features(self, subject: str) -> dict[str, RawTensor]:
        from dreamcache.storage.feature_cache import list_entries

        [key] = {row["cache_key"] for row in self.items(subject)}
        [entry] = [entry for entry in list_entries(f"{self.output}-cache") if entry.cache_key == key]
        return dict(read_entry(entry).maps)


def catalog_rows() -> list[dict[str, str]]:
    by_photo = [{"subject_id": photo, "image": photo} for photo in (*SOUND, "rotated.png", *BROKEN)]
    by_id = [{"subject_id": subject, "image": "plain.png"} for subject in (*IDS, "y" * 500, "twice", "twice")]
    prompts = [
        {"subject_id": "placeholder", "image": "plain.png", "prompts": "a {colour} mug"},
        {"subject_id": "long prompt", "image": "plain.png", "prompts": LONG_PROMPT},
        {"subject_id": "zero again", "image": "zero.png"},
    ]
    return [*by_photo, *by_id, *prompts]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, tiny_model: dict[str, str]) -> Ran:
    folder = tmp_path_factory.mktemp("bad")
    write_strange_photos(folder)
    write_broken_photos(folder)
    catalog = write_catalog(folder, catalog_rows())
    job = write_job(folder, catalog=catalog, output="output", prompts=[PROMPT], model=tiny_model)
    done = dreamcache("run", job)
    output = folder / "output"
    assert (output / "failed.csv").is_file(), done.stderr
    with (output / "failed.csv").open(newline="", encoding="utf-8") as file:
        failed = list(csv.DictReader(file))
    rows = pq.read_table(output / "manifest.parquet").to_pylist()
    return Ran(job=job, done=done, output=output, rows=rows, failed=failed)


def test_the_job_ends_with_exit_code_3_and_says_where_the_reasons_are(ran: Ran) -> None:
    assert ran.done.returncode == 3, ran.done.stderr
    assert f"why: {ran.output}/failed.csv" in ran.done.stdout
    assert "Traceback" not in ran.done.stderr
    status = {state: [row for row in ran.rows if row["status"] == state] for state in ("done", "failed")}
    assert len(status["failed"]) == len(ran.failed) == len(BROKEN) + 5
    assert len(status["done"]) == len(ran.rows) - len(ran.failed) == len(SOUND) + len(IDS) + 4
    assert all((ran.output / row["key"]).is_file() for row in status["done"])
    assert (ran.output / "gallery" / "index.html").is_file()
    assert json.loads((ran.output / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize("photo", BROKEN)
def test_a_photo_that_cannot_be_used(ran: Ran, photo: str) -> None:
    code, message = BROKEN[photo]
    failure = ran.failure(photo)
    assert failure["code"] == code
    assert message in failure["message"]
    assert f"subject '{photo}': image '" in failure["message"]
    assert failure["attempts"] == "1"


def test_two_subjects_with_the_same_broken_file_are_each_reported(ran: Ran) -> None:
    assert ran.failure("zero again")["message"].startswith("subject 'zero again': ")


@pytest.mark.parametrize("photo", [*SOUND, "rotated.png"])
def test_an_unusual_photo_is_handled(ran: Ran, photo: str) -> None:
    assert [row["status"] for row in ran.items(photo)] == ["done"]


@pytest.mark.parametrize(
    ("photo", "same"),
    [
        ("palette.png", "plain.png"),
        ("animated.gif", "plain.png"),
        ("animated.webp", "plain.png"),
        ("rotated.png", "plain.png"),
        ("16-bit.png", "8-bit.png"),
    ],
)
def test_an_unusual_photo_gives_the_features_of_its_plain_twin(ran: Ran, photo: str, same: str) -> None:
    assert ran.features(photo) == ran.features(same)


def test_the_second_of_two_equal_ids_is_lost(ran: Ran) -> None:
    assert [row["status"] for row in ran.items("twice")] == ["done", "failed"]
    failure = ran.failure("twice")
    assert failure["code"] == "duplicate_subject"
    assert "must be unique, is also in row" in failure["message"]


@pytest.mark.parametrize("subject", IDS)
def test_ids_with_slashes_dots_and_unicode(ran: Ran, subject: str) -> None:
    [row] = ran.items(subject)
    assert row["status"] == "done"
    assert row["key"] == f"images/{row['item_id'][:2]}/{row['item_id']}.png"


def test_an_id_of_500_characters(ran: Ran) -> None:
    failure = ran.failure("y" * 80)
    assert failure["code"] == "bad_subject_id"
    assert "at most 200 characters, got 500; shorten it" in failure["message"]


def test_an_unknown_placeholder_costs_its_prompt(ran: Ran) -> None:
    failure = ran.failure("placeholder")
    assert (failure["code"], failure["prompt"]) == ("unknown_placeholder", "a {colour} mug")
    assert "unknown placeholder {colour}; known are class_name, subject_id" in failure["message"]
    assert sorted(row["status"] for row in ran.items("placeholder")) == ["done", "failed"]


def test_a_prompt_over_77_tokens_is_said_not_cut(ran: Ran) -> None:
    failure = ran.failure("long prompt")
    assert (failure["code"], failure["prompt"]) == ("prompt_too_long", LONG_PROMPT.strip())
    assert "at most 77 tokens with start and end, got " in failure["message"]
    assert sorted(row["status"] for row in ran.items("long prompt")) == ["done", "failed"]


def test_the_same_command_again_makes_nothing_and_says_the_same(ran: Ran) -> None:
    again = dreamcache("run", ran.job, "--json")
    assert again.returncode == 3
    report = json.loads(again.stdout)
    assert (report["generated"], report["failed"], report["pending"]) == (0, len(ran.failed), 0)
