"""Scenes, a matrix and settings of rows: which items they plan, and what enters an item's id."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dreamcache.core.config import GenerationSettings
from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.scenes import Overrides, overrides_of
from dreamcache.core.errors import CatalogError, SpecError
from dreamcache.inference.families import family_of
from dreamcache.mini.world import CLASSES
from jobs.planning.batches import batches_of
from jobs.planning.planner import plan

MakeSpec = Callable[..., JobSpec]
BEACH = {"name": "beach", "prompt": "a {class_name} on the beach"}
PLAIN = "a {class_name} on the beach"


def rows_of(spec: JobSpec) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = plan(spec).table.to_pylist()
    return rows


def ids_of(spec: JobSpec) -> list[str]:
    return [row["item_id"] for row in rows_of(spec)]


def test_a_scene_without_settings_plans_the_items_of_its_prompt(make_spec: MakeSpec) -> None:
    scene = rows_of(make_spec(prompts=[], scenes=[BEACH]))
    prompt = rows_of(make_spec(prompts=[PLAIN]))
    assert [row["item_id"] for row in scene] == [row["item_id"] for row in prompt]
    assert {row["scene"] for row in scene} == {"beach"}
    assert {row["overrides"] for row in scene} == {None}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("negative_prompt", "people"), ("height", 256), ("width", 256), ("text_scale", 3.0), ("image_scale", 0.9),
        ("strength", 0.5), ("seed", 9),
    ],
)  # fmt: skip
def test_a_scenes_settings_enter_the_id_and_its_name_does_not(
    make_spec: MakeSpec, name: str, value: Any
) -> None:
    plain = ids_of(make_spec(prompts=[PLAIN]))
    changed = rows_of(make_spec(prompts=[], scenes=[{**BEACH, name: value}]))
    renamed = ids_of(make_spec(prompts=[], scenes=[{**BEACH, "name": "shore", name: value}]))
    assert not set(plain) & {row["item_id"] for row in changed}
    assert [row["item_id"] for row in changed] == renamed
    assert json.loads(changed[0]["overrides"]) == {name: value}
    assert len({row["seed"] for row in changed}) == len(changed)
    # The same as a job that has it for all.
    of_job = {"seed": value} if name == "seed" else {"generation": {name: value}}
    assert ids_of(make_spec(prompts=[PLAIN], **of_job)) == renamed


def test_what_a_scene_sets_as_the_job_has_it_is_no_difference(make_spec: MakeSpec) -> None:
    scene = {**BEACH, "strength": 1.0, "text_scale": 7.5, "seed": 0, "height": 0, "negative_prompt": ""}
    [first, *_] = rows_of(make_spec(prompts=[], scenes=[scene]))
    assert first["overrides"] is None
    assert first["item_id"] == ids_of(make_spec(prompts=[PLAIN]))[0]


def test_samples_of_a_scene(make_spec: MakeSpec) -> None:
    rows = rows_of(make_spec(prompts=["x"], samples=2, scenes=[{**BEACH, "samples": 3}]))
    assert [(row["scene"], row["sample"]) for row in rows[:5]] == [
        ("0", 0), ("0", 1), ("beach", 0), ("beach", 1), ("beach", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("prompts", "scenes", "names"),
    [
        ([], [BEACH, {**BEACH, "name": "shore", "samples": 3}], "scene 'beach' and scene 'shore'"),
        ([PLAIN], [BEACH], "prompt 0 and scene 'beach'"),
        ([], [BEACH, {**BEACH, "name": "b", "strength": 1.0}], "scene 'beach' and scene 'b'"),
        ([], [BEACH, {"name": "b", "prompt": "a {class_name}  on {place}"}], "scene 'beach' and scene 'b'"),
    ],
)
def test_equal_scenes_are_named(
    make_spec: MakeSpec, prompts: list[str], scenes: list[dict[str, Any]], names: str
) -> None:
    matrix = {"place": ["the beach", "grass"]} if "{place}" in str(scenes) else {}
    with pytest.raises(SpecError, match=f"must differ in prompt or settings, {names} have both alike"):
        plan(make_spec(prompts=prompts, scenes=scenes, matrix=matrix))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenes": [BEACH, BEACH]}, "scenes must be of different names"),
        ({"scenes": [{**BEACH, "name": "12"}]}, "name must be more than digits"),
        ({"scenes": [{**BEACH, "prompt": " "}]}, "prompt must be a text"),
        ({"scenes": [{**BEACH, "strength": 2}]}, "strength must be from 0 to 1"),
        ({"scenes": [{**BEACH, "height": 9}]}, "height must be 0 or a multiple of 8"),
        ({"scenes": [{**BEACH, "hieght": 8}]}, "unknown key 'scenes.0.hieght' .did you mean 'height'"),
        (
            {"scenes": [{**BEACH, "samples": 9_000}], "samples": 900},
            "prompts x samples must be at most 10,000",
        ),
        ({"matrix": {"class_name": ["a"]}}, "matrix must be without class_name"),
        ({"matrix": {"a b": ["a"]}}, "matrix must be of names"),
        ({"matrix": {"light": []}}, "matrix.light must be a list of texts"),
        ({"matrix": {"light": ["a", " a"]}}, "matrix.light must be a list of different texts"),
    ],
)
def test_what_cannot_be_meant_is_refused(make_spec: MakeSpec, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make_spec(**changes)


def test_a_matrix_plans_each_combination_of_what_a_prompt_names(make_spec: MakeSpec) -> None:
    made = plan(
        make_spec(
            "subject_id,image,prompts,color\na,a.png,mine in {light},red\n",
            prompts=["plain", "a {color} {class_name} in {light} from {angle}"],
            scenes=[{"name": "night", "prompt": "at night in {light}", "strength": 0.5}],
            matrix={"angle": ["above", "below"], "light": ["sun", "{candle}"]},
        )
    )
    rows = made.table.to_pylist()
    assert [(row["scene"], row["prompt"]) for row in rows] == [
        ("row:0", "mine in sun"),
        ("row:0", "mine in {candle}"),
        ("0", "plain"),
        ("1", "a red product in sun from above"),
        ("1", "a red product in {candle} from above"),
        ("1", "a red product in sun from below"),
        ("1", "a red product in {candle} from below"),
        ("night", "at night in sun"),
        ("night", "at night in {candle}"),
    ]
    assert len({row["item_id"] for row in rows}) == 9
    assert json.loads(rows[4]["attributes"]) == {"color": "red", "angle": "above", "light": "{candle}"}
    assert made.attributes == ("color", "angle", "light")
    plain = ids_of(make_spec("subject_id,image,color\na,a.png,red\n", prompts=["at night in sun"]))
    assert plain[0] not in {row["item_id"] for row in rows}, "the scene has a strength of its own"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matrix": {"light": ["a"]}}, r"matrix.light: must be named by a prompt or scene, none has {light}"),
        ({"matrix": {"color": ["a"]}, "prompts": ["{color}"]}, r"matrix.color: .* no column of the catalog"),
        (
            {"matrix": {n: [str(v) for v in range(100)] for n in "xyz"}, "prompts": ["{x}{y}{z}"]},
            "at most 10,000 for a row, got 1,000,000",
        ),
    ],
)
def test_a_matrix_that_cannot_be_planned(make_spec: MakeSpec, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plan(make_spec("subject_id,image,color\na,a.png,red\n", **changes))


def test_broken_braces_cost_their_rows_with_a_matrix_too(make_spec: MakeSpec) -> None:
    spec = make_spec(prompts=["{light", "in {light}", "{light!r}"], matrix={"light": ["sun"]})
    rows = rows_of(spec)
    assert [row["code"] for row in rows[:3]] == ["bad_prompt", None, "unknown_placeholder"]


CATALOG = "subject_id,image,my_seed,much,avoid,strength\na,a.png,7.0,0.5,people,x\nb,b.png,,,,y\n"
COLUMNS = {"seed": "my_seed", "strength": "much", "negative_prompt": "avoid"}


def test_settings_of_a_row(make_spec: MakeSpec) -> None:
    made = plan(make_spec(CATALOG, columns=COLUMNS, prompts=["x"]))
    own, free = made.table.to_pylist()
    assert json.loads(own["overrides"]) == {"seed": 7, "strength": 0.5, "negative_prompt": "people"}
    assert free["overrides"] is None
    assert free["item_id"] == rows_of(make_spec(CATALOG, prompts=["x"]))[1]["item_id"]
    assert json.loads(own["attributes"]) == {"my_seed": "7.0", "much": "0.5", "avoid": "people"}
    # Without the mapping they are attributes, as ever.
    assert {row["overrides"] for row in rows_of(make_spec(CATALOG, prompts=["{strength}"]))} == {None}


def test_a_row_wins_over_a_scene_and_a_scene_over_the_job(make_spec: MakeSpec) -> None:
    scene = {**BEACH, "strength": 0.25, "negative_prompt": "dogs", "text_scale": 2.0}
    own, free = rows_of(
        make_spec(
            CATALOG, columns=COLUMNS, prompts=[], scenes=[scene], generation={"negative_prompt": "cats"}
        )
    )
    assert json.loads(own["overrides"]) == {
        "seed": 7, "strength": 0.5, "negative_prompt": "people", "text_scale": 2.0,
    }  # fmt: skip
    assert json.loads(free["overrides"]) == {"strength": 0.25, "negative_prompt": "dogs", "text_scale": 2.0}


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        ("much=1.5", "strength must be from 0 to 1, got 1.5"),
        ('much="0,5"', "strength must be a number from 0 to 1, got '0,5'"),
        ("much=nan", "strength must be a finite number"),
        ("my_seed=1.5", "seed must be a whole number, got '1.5'"),
        ("my_seed=1e400", "seed must be a whole number, got '1e400'"),
        ("my_seed=99999999999999999999", "seed must be at most 9,223,372,036,854,775,807"),
        ("my_seed=1_0", "seed must be a whole number, got '1_0'"),
        ("my_seed=" + "9" * 5000, "seed must be a whole number"),
        ("my_seed=٣", "seed must be a whole number"),
    ],
)
def test_a_cell_that_is_no_such_setting_costs_its_row(make_spec: MakeSpec, cell: str, rule: str) -> None:
    column, value = cell.split("=")
    catalog = f"subject_id,image,{column}\na,a.png,{value}\nb,b.png,\n"
    columns = {our: theirs for our, theirs in COLUMNS.items() if theirs == column}
    bad, good = rows_of(make_spec(catalog, columns=columns, prompts=["x"]))
    assert (bad["code"], good["code"]) == ("bad_row", None)
    assert rule in bad["message"]


def test_large_seeds_keep_their_digits(make_spec: MakeSpec) -> None:
    rows = rows_of(make_spec(CATALOG.replace("7.0", str(2**62 + 1)), columns=COLUMNS, prompts=["x"]))
    assert json.loads(rows[0]["overrides"])["seed"] == 2**62 + 1


def test_a_mapped_column_must_be_there(make_spec: MakeSpec) -> None:
    with pytest.raises(CatalogError, match="needs a column 'sed'"):
        plan(make_spec(CATALOG, columns={"seed": "sed"}))
    with pytest.raises(CatalogError, match=r"'sead' is not one of .*did you mean 'seed'"):
        plan(make_spec(CATALOG, columns={"sead": "my_seed"}))


def test_the_noise_of_a_scene_follows_the_scenes_own_seed(make_spec: MakeSpec) -> None:
    def seeds(**changes: Any) -> list[int]:
        return [row["seed"] for row in rows_of(make_spec(noise="scene", prompts=[], **changes))]

    assert seeds(scenes=[BEACH]) == seeds(scenes=[{**BEACH, "strength": 0.5}])
    assert seeds(scenes=[{**BEACH, "seed": 4}]) == seeds(scenes=[BEACH], seed=4) != seeds(scenes=[BEACH])


@pytest.mark.parametrize("text", ["[]", '{"a": 1}', '{"strength": 2}', '{"negative_prompt": 1}', "{"])
def test_overrides_that_no_plan_wrote(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        overrides_of(text)


def test_overrides_are_read_as_they_were_written() -> None:
    overrides = Overrides(seed=-(2**60), negative_prompt="é", height=64)
    assert overrides_of(overrides.text()) == overrides
    job = GenerationSettings(width=8).resolved({})
    assert (overrides.generation(job).height, overrides.generation(job).width) == (64, 8)


def test_batches_hold_items_that_may_share_one_and_stay_near_the_plans_order(make_spec: MakeSpec) -> None:
    scenes = [
        {"name": "wide", "prompt": "w", "width": 64, "samples": 3},
        {"name": "strong", "prompt": "s", "strength": 0.5},
    ]
    table = plan(make_spec(prompts=["x"], scenes=scenes)).table
    per_image = family_of("dreamcache", "mini").per_image
    batches = [batch["scene"].to_pylist() for batch in batches_of(table, 2, per_image)]
    wide, mixed = ["wide", "wide"], ["0", "strong"]
    assert batches == [wide, mixed, wide, wide, mixed]
    apart = [set(batch["scene"].to_pylist()) for batch in batches_of(table, 2, frozenset())]
    assert all(len(scenes) == 1 for scenes in apart)
    assert sum(batch.num_rows for batch in batches_of(table, 3, per_image)) == table.num_rows
    plain = plan(make_spec()).table
    assert [batch.num_rows for batch in batches_of(plain, 3, per_image)] == [3, 1]


def test_a_catalog_of_another_world_is_noted_once_on_mini(make_spec: MakeSpec) -> None:
    def notes(*rows: str) -> tuple[str, ...]:
        text = "\n".join(["subject_id,class_name,image", *rows])
        return plan(make_spec(text, model={"base": "mini"})).notes

    own = f"{CLASSES[1_000_000 % 12]}-1000000,{CLASSES[1_000_000 % 12]},a.png"
    assert notes(own) == ()
    [note] = notes(own, "mug-1,lamp,b.png", "a,mug,a.png")
    assert "shows the path" in note and "docs/models.md" in note
    assert not plan(make_spec()).notes, "of another base"
