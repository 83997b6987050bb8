"""The plan: which rows there are, and that an item's id changes with what decides its pixels and nothing else."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamcache.core import ids
from dreamcache.core.config import GenerationSettings, ImageFormat
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.core.photo_sets import PlannedPhoto
from dreamcache.core.records import Subject, gated_template, item_id, item_template
from dreamcache.inference.facts import trained_otherwise
from dreamcache.storage.models.encoders import gate_identity
from jobs.planning.plan_table import PlanRows, Prompt
from jobs.planning.planner import plan
from jobs.spec import dump_spec
from tests.jobs.conftest import write_json

MakeSpec = Callable[..., JobSpec]
RELATIVE = {"base": "base", "adapter": "adapter"}
LATER = ("scene", "photo_set", "overrides", "typed")
"""Columns that the pinned rows of earlier releases do not have."""


def rows_of(spec: JobSpec) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = plan(spec).table.to_pylist()
    return rows


def ids_of(spec: JobSpec) -> set[str]:
    return {row["item_id"] for row in rows_of(spec)}


def test_a_row_for_each_subject_prompt_and_sample(make_spec: MakeSpec) -> None:
    made = plan(make_spec(samples=3, class_name="mug"))
    rows = made.table.to_pylist()
    assert (made.num_subjects, made.num_items, made.num_repeated_prompts) == (2, 12, 0)
    assert [(row["subject_id"], row["prompt"], row["sample"]) for row in rows[:4]] == [
        ("a", "a mug on sand", 0),
        ("a", "a mug on sand", 1),
        ("a", "a mug on sand", 2),
        ("a", "a mug in snow", 0),
    ]
    assert len({row["item_id"] for row in rows}) == len({row["seed"] for row in rows}) == 12
    assert len({row["cache_key"] for row in rows}) == 2
    assert all(row["code"] is None and 0 <= row["seed"] < 2**63 for row in rows)


def test_a_rows_own_prompts_come_first_and_repeats_are_planned_once(make_spec: MakeSpec) -> None:
    made = plan(make_spec("subject_id,image,prompts\na,a.png,a product on sand|mine\n"))
    assert made.table["prompt"].to_pylist() == ["a product on sand", "mine", "a product in snow"]
    assert made.num_repeated_prompts == 1


def test_ids_and_seeds_are_those_of_every_release(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pinned: another id for the same work would make every image of every catalog again."""
    catalog = "subject_id,image,prompts,color\na,a.png,,red\nb,b.png,mine {color}|mine blue|{nope},blue\n"
    catalog += "c,none.png,,\nb,b.png,,\n,x,,\n"
    make_spec(catalog)
    monkeypatch.chdir(tmp_path)
    spec = make_spec(
        catalog, prompts=["a {class_name} on sand", "in {color}"], samples=2, seed=5, model=RELATIVE
    )
    made = plan(replace(spec, catalog="catalog.csv"))
    assert (made.num_subjects, made.num_items, made.num_repeated_prompts, made.num_unrunnable) == (
        5,
        18,
        2,
        8,
    )
    rows = made.table.to_pylist()
    assert [(row["item_id"], row["seed"]) for row in rows[:2]] == [
        ("2eed2a1fcbfc5df92415f87f57defe918999b10b2722d59edf6d2b9cc8d16484", 3381405211279777273),
        ("6145e9fcfdae7d70b2f058199ed4375e81af207242127254f886471da6d5c8fc", 7009265667869146480),
    ]
    pinned = [{name: value for name, value in row.items() if name not in LATER} for row in rows]
    text = json.dumps(pinned, sort_keys=True).encode()
    assert (
        hashlib.sha256(text).hexdigest() == "c1bed9b3f6b1c7bb50326d7d2a8800be7db3f7a8df78b693e6dca1a623cff878"
    )


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.integers(1, 3))
def test_ids_made_by_column_are_the_records_own(subject_id: str, prompt: str, samples: int) -> None:
    job = {
        "seed": 3,
        "adapter_fingerprint": "ef" * 32,
        "settings": GenerationSettings().resolved({}),
        "image_format": ImageFormat(),
    }
    rows = PlanRows(item_template(**job), samples)
    rows.add(
        Subject(subject_id=subject_id, class_name="mug", image="x"),
        [PlannedPhoto(image="x", mask=None, reference_id="ab" * 32, cache_key="cd" * 32)],
        [Prompt(prompt, None, None, "0")],
    )
    table, sum_of_ids = rows.take()
    expected = [
        item_id(subject_id=subject_id, cache_key="cd" * 32, prompt=prompt, sample=n, **job)
        for n in range(samples)
    ]
    assert table["item_id"].to_pylist() == expected
    assert table["seed"].to_pylist() == [ids.seed_of(ident) for ident in expected]
    assert sum_of_ids == sum(int(ident, 16) for ident in expected)


def test_a_gate_makes_other_items_that_begin_with_the_same_seed(make_spec: MakeSpec) -> None:
    catalog = "subject_id,image\na,a.png\n,b.png\n"  # the second row is bad and has no seed
    gate = {"min_text": 0.1, "metrics": {"clip": "mini"}}
    free, gated = (plan(make_spec(catalog, **more)).table.to_pylist() for more in ({}, {"quality": gate}))
    quality = make_spec(catalog, quality=gate).quality
    assert quality is not None
    template = gated_template(gate_identity(quality))
    assert free[2]["code"] and free[2]["seed"] == 0
    for before, after in zip(free, gated, strict=True):
        assert after["seed"] == before["seed"]
        bad = before["code"] is not None
        assert after["item_id"] == (before["item_id"] if bad else template.key(item=before["item_id"]))
    assert sum(row["code"] is None for row in free) == 2


def test_the_same_work_has_the_same_name(make_spec: MakeSpec) -> None:
    name = plan(make_spec()).fingerprint
    assert plan(make_spec("subject_id,image\nb,b.png\na,a.png\n")).fingerprint == name
    assert plan(make_spec("subject_id,image\na,a.png\n")).fingerprint != name


def test_the_noise_of_a_scene_is_the_same_for_all_settings(make_spec: MakeSpec) -> None:
    def seeds(**changes: Any) -> list[int]:
        found: list[int] = plan(make_spec(**changes)).table["seed"].to_pylist()
        return found

    weak, strong = ({"generation": {"image_scale": scale}} for scale in (0.5, 2.0))
    assert seeds(noise="scene", **weak) == seeds(noise="scene", **strong)
    assert len(set(seeds(noise="scene"))) == 4
    assert not set(seeds(noise="scene")) & set(seeds(noise="scene", seed=1))
    assert not set(seeds(**weak)) & set(seeds(**strong))


KEEPS_IDS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "order of rows": {"catalog": "subject_id,image\nb,b.png\na,a.png\n"},
    "a column no prompt uses": {"catalog": "subject_id,image,price\na,a.png,1\nb,b.png,2\n"},
    "the job's name": {"name": "other"},
    "batch size and workers": {"workers": {"batch_size": 1, "generators": {"count": 4}}},
    "where the cache is": {"cache": "s3://b/cache"},
    "limits": {"limits": {"max_pixels": 10**6}},
}
CHANGES_ALL_IDS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1},
    "steps": {"generation": {"num_inference_steps": 49}},
    "scheduler": {"generation": {"scheduler": "euler"}},
    "scale": {"generation": {"image_scale": 0.5}},
    "class name": {"class_name": "mug"},
    "format": {"images": {"format": "jpeg"}},
    "encoding": {"reference": {"timestep": 2}},
    "dtype": {"model": {"dtype": "bfloat16"}},
}


@pytest.mark.parametrize("change", KEEPS_IDS)
def test_ids_do_not_change_with(make_spec: MakeSpec, change: str) -> None:
    assert ids_of(make_spec()) == ids_of(make_spec(**KEEPS_IDS[change]))


@pytest.mark.parametrize("change", CHANGES_ALL_IDS)
def test_all_ids_change_with(make_spec: MakeSpec, model: dict[str, str], change: str) -> None:
    changes = dict(CHANGES_ALL_IDS[change])
    if "model" in changes:
        changes["model"] = {**model, **changes["model"]}
    assert ids_of(make_spec()).isdisjoint(ids_of(make_spec(**changes)))


def test_all_ids_change_with_the_adapters_weights(make_spec: MakeSpec, model: dict[str, str]) -> None:
    before = ids_of(make_spec())
    Path(model["adapter"], "adapter.safetensors").write_bytes(b"other weights")
    assert before.isdisjoint(ids_of(make_spec()))


def test_only_its_own_ids_change_with_a_photo(make_spec: MakeSpec) -> None:
    spec = make_spec()
    before = {row["item_id"]: row["subject_id"] for row in rows_of(spec)}
    Path(spec.catalog).with_name("b.png").write_bytes(b"another photo")
    gone = set(before) - ids_of(spec)
    assert {before[item] for item in gone} == {"b"}
    assert len(gone) == 2


def test_a_photo_that_moved_keeps_its_ids(make_spec: MakeSpec, tmp_path: Path) -> None:
    before = ids_of(make_spec())
    spec = make_spec("subject_id,image\na,moved.png\nb,b.png\n")
    (tmp_path / "a.png").rename(tmp_path / "moved.png")
    assert ids_of(spec) == before


def test_more_prompts_and_samples_add_ids(make_spec: MakeSpec) -> None:
    more = make_spec(prompts=["a {class_name} on sand", "a {class_name} in snow", "x"], samples=2)
    assert ids_of(make_spec()) < ids_of(more)


def test_a_row_that_cannot_run_carries_its_reason(make_spec: MakeSpec) -> None:
    catalog = (
        "subject_id,image,prompts\na,a.png,{x}\na,b.png,\nc,none.png,\nd,ftp://x/y.png,\ne,.,\nf,a\0.png,\n"
    )
    codes = {(row["subject_id"], row["code"]) for row in rows_of(make_spec(catalog))}
    assert codes == {
        ("a", None),
        ("a", "unknown_placeholder"),
        ("a", "duplicate_subject"),
        ("c", "missing_image"),
        ("d", "bad_image_uri"),
        ("e", "missing_image"),
        ("f", "missing_image"),
    }


@pytest.mark.parametrize(
    ("catalog", "prompts", "message"),
    [
        ("subject_id,image\na,a.png\na,b.png\n", [], "prompts: must have at least one prompt"),
        ("subject_id,image\n", ["x"], "has no rows; there is nothing to do"),
    ],
)
def test_a_plan_without_work_is_an_error(
    make_spec: MakeSpec, catalog: str, prompts: list[str], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        plan(make_spec(catalog, prompts=prompts))


def test_a_subject_without_prompts_costs_itself(make_spec: MakeSpec) -> None:
    rows = rows_of(make_spec("subject_id,image,prompts\na,a.png,x\nb,b.png,\n", prompts=[]))
    assert [(row["subject_id"], row["code"]) for row in rows] == [("a", None), ("b", "no_prompts")]


def test_an_adapter_of_another_base_is_refused(make_spec: MakeSpec, model: dict[str, str]) -> None:
    spec = make_spec()
    write_json(Path(model["base"], "scheduler", "scheduler_config.json"), {"prediction_type": "v_prediction"})
    with pytest.raises(ModelError, match=r"was trained on base 'tiny' .* but the loaded base is"):
        plan(spec)


def test_planning_loads_neither_torch_nor_ray(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(dump_spec(make_spec()))
    code = f"""
import sys, jobs
assert jobs.plan(jobs.load_spec({str(tmp_path / "job.yaml")!r})).num_items == 4
print(sorted({{"torch", "ray", "diffusers", "transformers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_warning_when_a_job_reads_references_otherwise_than_its_adapter_learned(
    make_spec: MakeSpec,
) -> None:
    spec = make_spec()
    assert trained_otherwise(spec, plan(spec).facts.adapter) is None, "an adapter that does not record it"
    config = Path(str(spec.model.adapter), "config.json")
    training = {"reference": {"timestep": 150, "text": ""}}
    config.write_text(json.dumps({**json.loads(config.read_text()), "training": training}))
    warning = trained_otherwise(spec, plan(spec).facts.adapter)
    assert warning is not None and '"timestep": 150' in warning and '"timestep": 1,' in warning
    alike = make_spec(reference={"timestep": 150})
    assert trained_otherwise(alike, plan(alike).facts.adapter) is None
