"""The job file: checked whole, with every broken rule named, and its paths anchored at its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamcache.core.errors import SpecError
from jobs.spec import dump_spec, load_spec, parse_spec

LEAST: dict[str, Any] = {"name": "job", "catalog": "catalog.csv", "output": "out", "prompts": ["a mug"]}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({**LEAST, **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": ["x"]}, "job: unknown key 'prompt' (did you mean 'prompts'?)"),
        ({"generation": {"schedular": "ddim"}}, "'generation.schedular' (did you mean 'scheduler'?)"),
        ({"workers": {"generators": {"gpu": 1}}}, "'workers.generators.gpu' (did you mean 'gpus'?)"),
        ({"zzzzz": 1}, "job: unknown key 'zzzzz'"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"samples": "many"}, "samples: Input should be a valid integer"),
        ({"name": "../x"}, "name must be 1-100 letters, digits, '.', '_' or '-', got '../x'"),
        ({"prompts": "one text"}, "prompts: "),
        ({"generation": {"num_inference_steps": 0}}, "num_inference_steps must be from 1 to 999, got 0"),
        ({"generation": {"scheduler": "dddim"}}, "generation.scheduler: Input should be 'ddim'"),
        ({"generation": {"height": 100}}, "height must be 0 or a multiple of 8 pixels, got 100"),
        ({"quality": {"min_imag": 0.5}}, "'quality.min_imag' (did you mean 'min_image'?)"),
        ({"quality": {"keep": "best"}}, "quality: min_image, min_text, min_contrast"),
        ({"workers": {"batch_size": 0}}, "batch_size must be at least 1, got 0"),
    ],
)
def test_a_broken_rule_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({**LEAST, **changes})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_broken_rule_is_named_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({"catalog": "x", "output": "y", "promts": [], "samples": "many"})
    for part in ("key 'name' is missing", "unknown key 'promts'", "samples: "):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompts: [a {class_name}]", "must be a readable YAML file"),
        ("- a\n- b\n", "must hold 'key: value' lines, got list"),
        ("", "must hold 'key: value' lines, got NoneType"),
    ],
)
def test_a_file_that_is_no_job(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(SpecError, match=message):
        load_spec(tmp_path / "job.yaml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such job file; 'dreamcache init' writes one"):
        load_spec(tmp_path / "job.yaml")


def test_paths_are_relative_to_the_job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "base").mkdir()
    path = write(tmp_path / "job", model={"base": "../base", "adapter": "../adapter"}, cache="s3://b/cache")
    monkeypatch.chdir(tmp_path)
    for given in (path, path.relative_to(tmp_path)):
        spec = load_spec(given)
        assert spec.catalog == f"{tmp_path}/job/catalog.csv"
        assert spec.output == f"{tmp_path}/job/out"
        assert spec.cache_uri == "s3://b/cache"
        assert Path(spec.model.base).samefile(tmp_path / "base")
        assert spec.model.adapter == f"{tmp_path}/job/../adapter"


def test_uris_and_hub_ids_stay_as_they_are(tmp_path: Path) -> None:
    model = {"base": "owner/name", "revision": "abc", "adapter": "s3://b/adapter"}
    spec = load_spec(write(tmp_path, catalog="s3://b/c.csv", output="s3://b/out", model=model))
    assert (spec.catalog, spec.output, spec.cache_uri) == ("s3://b/c.csv", "s3://b/out", "s3://b/out-cache")
    assert (spec.model.base, spec.model.adapter) == ("owner/name", "s3://b/adapter")


@pytest.mark.parametrize(
    "places", [{"output": "photos/out"}, {"output": "photos"}, {"output": "o", "cache": "photos/../photos/c"}]
)
def test_nothing_is_written_into_the_catalog_folder(tmp_path: Path, places: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="must lie outside the catalog's folder"):
        load_spec(write(tmp_path, catalog="photos", **places))
    assert load_spec(write(tmp_path, catalog="photos", output="photos-out")).output.endswith("photos-out")


def test_nor_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    with pytest.raises(SpecError, match="must lie outside the catalog's folder"):
        load_spec(write(tmp_path, catalog="photos", output="link/out"))


def test_overrides_change_single_settings(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path), {"generation.scheduler": "euler", "workers.generators.count": 3})
    assert (spec.generation.scheduler, spec.workers.generators.count) == ("euler", 3)
    with pytest.raises(SpecError, match="'name' is no group of settings"):
        load_spec(write(tmp_path), {"name.x": 1})
    with pytest.raises(SpecError, match=r"unknown key 'generation.step'"):
        load_spec(write(tmp_path), {"generation.step": 1})


def test_a_dumped_spec_reads_back_equal(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, columns={"image": "photo"}, class_name="Becher – 水"))
    assert parse_spec(yaml.safe_load(dump_spec(spec))) == spec


def test_the_gates_encoders_lie_beside_the_file_and_the_whole_comes_again(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    metrics = {"clip": "clip", "dino": "owner/dino@1", "segmenter": "grabcut"}
    spec = load_spec(write(tmp_path, quality={"min_image": 0.5, "metrics": metrics}))
    assert spec.quality is not None
    assert spec.quality.metrics.encoders == {"clip": str(tmp_path / "clip"), "dino": "owner/dino@1"}
    assert parse_spec(yaml.safe_load(dump_spec(spec))) == spec
