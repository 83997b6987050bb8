"""replay: an image is generated again from its record alone, and whatever has changed since is reported."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.image_store import decode_image
from jobs.output.replay import replay
from jobs.spec import parse_spec
from tests.command import TWO_STEPS, dreamcache, in_process
from tests.end_to_end.photos import write_catalog, write_photos
from tests.jobs.replayed import edit_json, make_job
from tests.tiny import save_base, save_random_adapter


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """(folder of a job that is done, ids of its items): two subjects, two prompts, batches of three."""
    folder = tmp_path_factory.mktemp("replay")
    base = save_base(folder / "base")
    model = {"base": str(base), "adapter": str(save_random_adapter(folder / "adapter", base))}
    values: dict[str, Any] = {
        "name": "job",
        "catalog": write_catalog(folder, write_photos(folder, 2)),
        "output": str(folder / "output"),
        "prompts": ["a {class_name} on sand", "a {class_name} in snow"],
        "model": model,
        "generation": TWO_STEPS,
        "workers": {"batch_size": 3},
    }
    return folder, make_job(parse_spec(values))


@pytest.fixture
def job(made: tuple[Path, list[str]], tmp_path: Path) -> tuple[Path, list[str]]:
    """A copy whose output, cache and photos may be spoilt."""
    folder, items = made
    for name in ("output", "output-cache"):
        shutil.copytree(folder / name, tmp_path / name)
    job = (tmp_path / "output" / "job.yaml").read_text()
    (tmp_path / "output" / "job.yaml").write_text(
        job.replace("cache: null", f"cache: {tmp_path}/output-cache")
    )
    return tmp_path, items


@pytest.mark.slow
def test_the_same_pixels_come_again(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    """From a full batch and from a filled one; the command, with the photo encoded anew."""
    folder, items = made
    for item, command in ((items[0], in_process), (items[3], dreamcache)):
        done = command(
            "replay", item[:10], "--output", str(folder / "output"), "--json", "--save", str(tmp_path)
        )
        report = json.loads(done.stdout)
        assert (done.returncode, report["item_id"], report["max_difference"]) == (0, item, 0), done.stdout
        assert (report["differing"], report["features"], report["within_bound"]) == (0.0, "photo", True)
        replayed, sheet = (Path(uri) for uri in report["saved"])
        assert replayed.read_bytes() == Path(report["stored"]).read_bytes()
        with Image.open(sheet) as image:
            assert image.size == (3 * 128, 128)


def test_where_the_places_looked_is_a_picture(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, items = made
    picture = tmp_path / "attention.png"
    done = replay(str(folder / "output"), items[1], attention=str(picture))
    assert (done.max_difference, done.saved) == (0, [str(picture)])
    with Image.open(picture) as image:
        assert (
            image.height == 16 + 192 + 6 and image.width > 5 * 192
        )  # image, reference, places and their mean


def test_an_image_that_was_changed_is_reported(job: tuple[Path, list[str]]) -> None:
    folder, items = job
    path = next((folder / "output" / "images").rglob(f"{items[1]}.png"))
    pixels = decode_image(path.read_bytes()).copy()
    pixels[:16] = np.where(pixels[:16] > 127, pixels[:16] - 9, pixels[:16] + 9)
    Image.fromarray(pixels).save(path)
    done = in_process("replay", items[1], "--output", str(folder / "output"))
    assert done.returncode == 1, done.stderr
    assert "largest difference 9/255 (beyond, bound 1/255), 12.50 % of pixels differ" in done.stdout


def test_a_photo_that_is_gone_is_replaced_by_cached_features(job: tuple[Path, list[str]], made: Any) -> None:
    folder, items = job
    photo = made[0] / "p1.png"
    kept = photo.read_bytes()
    try:
        for change in (photo.unlink, lambda: photo.write_bytes((made[0] / "p0.png").read_bytes())):
            change()
            done = replay(str(folder / "output"), items[2])
            assert (done.features, done.max_difference) == ("cache", 0)
        shutil.rmtree(folder / "output-cache")
        with pytest.raises(
            DreamCacheError,
            match=r"must be the photo planned, got another.* the feature cache does not hold it",
        ) as caught:
            replay(str(folder / "output"), items[2])
        assert caught.value.code == "changed_photo"
    finally:
        photo.write_bytes(kept)


def test_what_is_not_the_records_is_refused(job: tuple[Path, list[str]]) -> None:
    folder, items = job
    output = str(folder / "output")

    def refused(item: str = items[0]) -> str:
        with pytest.raises(DreamCacheError) as caught:
            replay(output, item)
        return str(caught.value)

    assert "must name one item of the plan" in refused("ff" * 32)
    assert "names more than one item" in refused("")
    summary = folder / "output" / "manifest.json"
    for name in ("base", "adapter"):
        before = summary.read_text()
        edit_json(summary, name, "fingerprint", "0" * 64)
        assert re.search(
            f"{name} '.*': the manifest's images were generated with 0{{12}}, here it is", refused()
        )
        summary.write_text(before)
    job_file = folder / "output" / "job.yaml"
    before = job_file.read_text()
    job_file.write_text(before.replace("text_scale: 3.0", "text_scale: 3.5"))
    assert "settings, adapter or version of dreamcache have changed since" in refused()
    job_file.write_text(before)
    image = next((folder / "output" / "images").rglob(f"{items[0]}.png"))
    image.write_bytes(b"x")
    assert f"item {items[0][:12]}: {image}: image file: must decode as PNG" in refused()
    image.unlink()
    assert "has no image at" in refused()
    shutil.rmtree(folder / "output")
    assert "has no job.yaml" in refused()


def test_lossy_formats_are_compared_as_they_are_stored(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, _ = made
    values = {"name": "jpeg", "catalog": str(folder / "catalog.csv"), "output": str(tmp_path / "output")}
    model = {"base": str(folder / "base"), "adapter": str(folder / "adapter")}
    settings = {
        "generation": TWO_STEPS,
        "prompts": ["a mug"],
        "images": {"format": "jpeg"},
        "workers": {"batch_size": 1},
    }
    spec: JobSpec = parse_spec({**values, "model": model, **settings})
    [item, _] = make_job(spec)
    assert replay(spec.output, item).max_difference == 0
