"""The embedded model's measurements: queries, intervals, objects, pictures that resume, sheets, curve, reports."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from dreamcache.core.errors import CatalogError
from dreamcache.mini.world import CLASSES, HELD_OUT_FROM, design_from_seed
from jobs.init_template import JOB_YAML
from jobs.train.spec import parse_train_spec
from recipes.mini.make import adapter as adapter_stage
from recipes.mini.make.settings import Settings
from recipes.mini.measure import ablation, benchmark, curve, sheets
from recipes.mini.measure.attributes import ATTRIBUTES, AttributeReader
from recipes.mini.measure.features import ClipFeatures
from recipes.mini.measure.generate import Generator, OutOfTimeError
from recipes.mini.measure.objects import FINDERS, cut_out, finder, overlap
from recipes.mini.measure.queries import SIDE, Scales, all_classes, one_class, photo, real
from recipes.mini.measure.report import markdown
from recipes.mini.measure.scenes import scene_hits
from recipes.mini.measure.segmenter import LearnedSegmenter
from recipes.mini.measure.statistics import interval, ranks


def test_only_held_out_designs_are_queried():
    for group in (all_classes(100, 4), one_class(50, 4)):
        assert len(set(group.seeds)) == len(group.seeds)
        assert all(seed >= HELD_OUT_FROM for seed in group.seeds)
        assert len(group.queries) == 4 * len(group.seeds)
        for owner, query in zip(group.owners, group.queries, strict=True):
            assert query.seed == group.seeds[owner]


def test_a_designs_scenes_differ_and_its_prompts_name_class_and_scene_only():
    for seed, queries in zip(
        range(HELD_OUT_FROM, HELD_OUT_FROM + 12), _by_four(all_classes(12, 4)), strict=True
    ):
        assert len({query.scene for query in queries}) == 4
        assert all(q.prompt.startswith(f"a photo of a {design_from_seed(seed).class_name} ") for q in queries)


def test_a_shuffled_reference_is_another_design_of_the_class():
    group = all_classes(100, 4)
    classes = [design_from_seed(seed).class_name for seed in group.seeds]
    assert sorted(group.others) == list(range(100))
    assert all(i != other and classes[i] == classes[other] for i, other in enumerate(group.others))
    assert set(all_classes(3, 1).others) == {0, 1, 2}


def test_one_class_holds_one_class():
    assert {design_from_seed(seed).class_name for seed in one_class(5, 1, class_name="lamp").seeds} == {
        "lamp"
    }


def test_the_scales_are_those_of_the_starters_job_file():
    for name, value in Scales().as_dict().items():
        assert f"  {name}: {value}" in JOB_YAML


def test_a_tie_counts_against_the_model():
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.1, 0.2, 0.3]])
    assert ranks(scores, np.array([0, 0, 0])).tolist() == [1, 2, 3]


def test_an_interval_holds_its_mean_and_shrinks_with_more_subjects():
    rng = np.random.default_rng(0)
    few, many = (interval(rng.random((count, 4)) < 0.4) for count in (20, 500))
    assert few[1] < few[0] < few[2]
    assert many[2] - many[1] < (few[2] - few[1]) / 2
    assert interval(np.ones((7, 4))) == [1.0, 1.0, 1.0]


def test_the_object_of_a_true_render_is_found_and_cut_out(tmp_path: Path):
    pairs = [real(query) for query in all_classes(24, 1).queries]
    masks = finder("grabcut", tmp_path)([picture for picture, _ in pairs])
    assert np.mean([overlap(m, true) for m, (_, true) in zip(masks, pairs, strict=True)]) > 0.75
    view = cut_out(pairs[0][0], pairs[0][1])
    assert view.size == (SIDE, SIDE)
    assert view.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.slow
def test_the_segmenter_of_the_world_learns_from_training_designs_and_is_kept(tmp_path: Path):
    pairs = [real(query) for query in all_classes(24, 1).queries]
    pictures = np.stack([np.asarray(picture) for picture, _ in pairs])
    trained = LearnedSegmenter(tmp_path / "net.pt", renders=300, epochs=4).masks(pictures)
    assert np.mean([overlap(m, true) for m, (_, true) in zip(trained, pairs, strict=True)]) > 0.5
    assert [file.name for file in tmp_path.iterdir()] == ["net-300x4.pt"], (
        "never taken for a fully trained one"
    )
    again = LearnedSegmenter(tmp_path / "net.pt", renders=300, epochs=4).masks(pictures)
    assert all(np.array_equal(a, b) for a, b in zip(trained, again, strict=True))


@pytest.mark.slow
def test_attributes_are_read_from_cut_outs_of_held_out_designs(tmp_path: Path):
    queries = all_classes(48, 1).queries
    objects = [cut_out(*real(query)) for query in queries]
    reader = AttributeReader(tmp_path / "reader.pt", renders=400, epochs=12)
    hits = reader.hits(objects, [query.seed for query in queries])
    assert tuple(hits) == ATTRIBUTES
    assert hits["colour"].mean() > 0.2  # chance: 0.07; the reader of the benchmark trains twenty times longer
    assert all(0 <= value.min() and value.max() <= 1 for value in hits.values())
    wrong = reader.hits(objects, [query.seed + 5 * len(CLASSES) for query in queries])
    assert wrong["colour"].mean() < hits["colour"].mean() - 0.1


def test_the_embedded_clip_recognizes_scenes_of_true_renders():
    queries = all_classes(24, 1).queries
    assert scene_hits(ClipFeatures(), queries, [real(query)[0] for query in queries]).mean() > 0.9


def test_features_of_a_design_are_nearer_to_itself_than_to_others():
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'measure'")
    from recipes.mini.measure.features import ImageNetFeatures

    group = all_classes(6, 1)
    imagenet = ImageNetFeatures()
    gallery = imagenet([cut_out(*photo(seed, SIDE)) for seed in group.seeds])
    seen = imagenet([cut_out(*real(query)) for query in group.queries])
    assert gallery.norm(dim=1).numpy() == pytest.approx(1.0, abs=1e-5)
    assert ranks((seen @ gallery.T).numpy(), group.owners).tolist() == [1] * 6


def test_pictures_are_generated_once_and_a_stopped_run_resumes(tmp_path: Path):
    queries, quick = all_classes(2, 1).queries, Scales(num_inference_steps=2)
    with pytest.raises(OutOfTimeError, match="2 of 2 pictures are left"):
        Generator(tmp_path, scales=quick, until=time.monotonic()).with_reference(queries)
    generator = Generator(tmp_path, scales=quick)
    images = generator.with_reference(queries)
    times = {path: path.stat().st_mtime_ns for path in generator.folder.rglob("*.png")}
    again = Generator(tmp_path, scales=quick, until=time.monotonic()).with_reference(queries)
    assert [picture.tobytes() for picture in images] == [picture.tobytes() for picture in again]
    assert times == {path: path.stat().st_mtime_ns for path in generator.folder.rglob("*.png")}
    assert [p.tobytes() for p in generator.text_only(queries)] != [p.tobytes() for p in images]
    assert Generator(tmp_path).folder != generator.folder
    # The same design and number in another scene is another picture, in the same folder.
    other = [replace(queries[0], scene="snow" if queries[0].scene != "snow" else "beach")]
    assert generator.with_reference(other)[0].tobytes() != images[0].tobytes()


def test_a_job_becomes_a_sheet_with_a_row_for_each_product(tmp_path: Path):
    _write_manifest(tmp_path, statuses=("done",) * 4)
    sheets.grid(tmp_path, tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert (sheet.width, sheet.height) == (3 * 99 + 3, 2 * 99 + 3 + 16)


def test_a_job_with_a_missing_picture_is_refused(tmp_path: Path):
    _write_manifest(tmp_path, statuses=("done", "done", "done", "failed"))
    with pytest.raises(CatalogError, match="b has no picture of"):
        sheets.grid(tmp_path, tmp_path / "sheet.jpg")


def test_a_sheet_for_the_repository_stays_below_a_quarter_of_a_megabyte(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3)).astype(np.uint8)
    sheets.write_jpeg(Image.fromarray(noise), tmp_path / "noise.jpg")
    assert (tmp_path / "noise.jpg").stat().st_size < 500_000
    sheets.write_jpeg(Image.new("RGB", (900, 900)), tmp_path / "plain.jpg")
    assert (tmp_path / "plain.jpg").stat().st_size < 250_000


def test_a_curve_is_written_for_each_level_and_for_retrieval(tmp_path: Path):
    points = tmp_path / "curve.jsonl"
    rows = [
        {"step": step, "level": level, "right": 0.5, "wrong": 0.9, "none": 0.7}
        for step in (10, 20)
        for level in (300, 500)
    ]
    points.write_text("".join(json.dumps(row) + "\n" for row in rows))
    curve.append_retrieval(points, 1280, _report())
    curve.run(points, tmp_path, batch=64)
    for name, lines in (("300", 3), ("500", 3), ("retrieval", 2)):
        root = ElementTree.parse(tmp_path / f"curve-{name}.svg").getroot()
        assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == lines
    assert curve.errors_by_images(rows, 300, 64)["right"] == [(640, 0.5), (1280, 0.5)]


def test_the_report_names_weights_intervals_and_chance():
    text = markdown(_report())
    assert "adapter `a`" in text
    assert "| adapters | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600) |  | 0.800" in text
    assert "| chance | 0.010 | 0.010 |  | 0.050 | 50.5 |" in text
    assert "| chance, class known | 0.120 | 0.120 |  | 0.600 | 4.7 |" in text
    assert "| all classes: attribute kept | colour |" in text


def test_the_trainings_that_are_started_are_valid_and_differ_in_the_timestep_only(tmp_path: Path):
    specs = [parse_train_spec(ablation.training(t, 400, "out")).train.course() for t in ablation.TIMESTEPS]
    for spec in specs[1:]:
        assert {key for key in spec if spec[key] != specs[0][key]} == {"reference.timestep"}
    for device in ("cpu", "cuda"):
        spec = parse_train_spec(adapter_stage.training(Settings(work=tmp_path, device=device)))
        assert spec.model.adapter == "start"
        assert spec.workers.gpus == (device == "cuda")


def test_the_benchmark_runs_end_to_end_on_few_designs(tmp_path: Path):
    """Real pictures, plain colours as features: the parts and their tables, without the extra."""
    tools = benchmark.Tools(
        features=lambda objects: torch.nn.functional.normalize(
            torch.stack(
                [torch.from_numpy(np.asarray(o.resize((8, 8)), np.float32)).flatten() for o in objects]
            )
        ),
        finders={"learned": finder("grabcut", tmp_path)},
        reader=AttributeReader(tmp_path / "reader.pt", renders=24, epochs=1),
    )
    sizes = benchmark.Sizes(subjects=3, class_subjects=2, scenes=1)
    report = benchmark.run(tmp_path, sizes, scales=Scales(num_inference_steps=1), tools=tools)
    group = report["retrieval"]["all classes"]
    assert set(group["finders"]) == {"learned", "exact mask"}
    assert set(group["finders"]["exact mask"]) == {"real", "real, through the VAE"}
    assert {"adapters", "real, exact mask"} < set(group["attributes"])
    assert (tmp_path / "benchmark.md").read_text().count("| text only |") == 2 * 2 + 1


def test_the_ablations_table_has_a_row_for_each_timestep_and_its_difference():
    values = {"CLIP-I": [0.5, 0.4, 0.6]}
    rows = {name: {**values, "difference to t = 1": values} for name in ("t = 1", "t = 150")}
    lines = ablation.markdown({"rows": rows}).splitlines()
    assert lines[0] == "| encoding | CLIP-I |"
    assert len(lines) == 5


def _by_four(group: Any) -> list[Any]:
    queries = group.queries
    return [queries[start : start + 4] for start in range(0, len(queries), 4)]


def _write_manifest(folder: Path, statuses: tuple[str, ...]) -> None:
    rows = []
    for number, status in enumerate(statuses):
        path = folder / f"{number}.png"
        Image.new("RGB", (64, 64), (40 * number, 90, 120)).save(path)
        subject, scene = divmod(number, 2)
        name = CLASSES[subject]
        rows.append(
            {
                "subject_id": "ab"[subject],
                "class_name": name,
                "prompt": f"a photo of a {name} {('on the beach', 'in the snow')[scene]}",
                "status": status,
                "uri": str(path),
                "image": str(folder / "0.png"),
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "manifest.parquet")


def _report() -> dict[str, Any]:
    figures = {
        "retrieval@1": [0.5, 0.4, 0.6],
        "retrieval@5": [0.8, 0.7, 0.9],
        "mean rank": [4.0, 3.0, 5.0],
        "no object found": 0.0,
    }
    arms = ("adapters", "text only", "shuffled reference", "real", "real, through the VAE")
    group = {
        "candidates": 100,
        "designs of a class": 100 / 12,
        "pictures": 400,
        "finders": {
            **{name: dict.fromkeys(arms, figures) for name in FINDERS},
            "exact mask": dict.fromkeys(arms[3:], figures),
        },
        "attributes": {"adapters": {"colour": [0.9, 0.8, 1.0]}},
        "overlap of found and true masks": {name: [0.85, 0.8, 0.9] for name in FINDERS},
    }
    return {
        "weights": {"base": "b", "adapter": "a", "adapter_step": 7, "dtype": "float32"},
        "features": "features",
        "objects": "objects",
        "intervals": "95 %",
        "retrieval": {"all classes": group},
        "scenes": {"adapters": {"accuracy": [1, 1, 1], "CLIP-T": [0.7, 0.6, 0.8]}},
    }
