"""The four stages inside this process: the embedded model at two steps, cut in the middle, and read by the trainer."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from dreamcache.core.config.job import WorkerSpec
from dreamcache.core.errors import SpecError
from dreamcache.storage.status import read_status
from dreamcache.synthesis.make import StageContext, StageMaker
from dreamcache.synthesis.parts import StagePart
from dreamcache.training.sources import open_source
from jobs.cli.main import app
from jobs.synthesize.runner import SynthReport, run_synthesis
from jobs.synthesize.spec import SynthSpec, parse_synth_spec


class CutError(Exception):
    pass


class Here:
    """Makes parts in this process; stops before the `stop`-th."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.made = stop, 0

    def __call__(self, context: StageContext, pool: WorkerSpec, parts: Sequence[StagePart]) -> Iterator[str]:
        maker = StageMaker(context)
        for part in parts:
            if self.made == self.stop:
                raise CutError
            assert maker(part)  # none is made twice
            self.made += 1
            yield part.name


def spec_of(folder: Path, **more: Any) -> SynthSpec:
    values: dict[str, Any] = {
        "name": "tiny",
        "output": str(folder / "out"),
        "captions": {"count": 20},
        "images": {"num_inference_steps": 2, "part_size": 4, "batch_size": 4},
        "masks": {"segmenter": "grabcut", "min_area": 0.0, "max_area": 1.0},
        "dataset": {"shard_size": 5, "validation": 0.2},
    }
    return parse_synth_spec(values | more)


def files(report: SynthReport) -> dict[str, bytes]:
    folder = Path(report.output)
    parts = [path for path in folder.rglob("part-*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in parts}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SynthReport:
    return run_synthesis(spec_of(tmp_path_factory.mktemp("whole")), quiet=True, engine=Here())


def test_counts_add_up_from_stage_to_stage(whole: SynthReport) -> None:
    counts = whole.counts
    assert counts["captions"] == 20
    assert counts["kept"] + sum(counts["dropped"].values()) == 20
    assert counts["images"] == counts["kept"] and counts["images_failed"] == 0
    assert counts["masks"] + sum(counts["no_mask"].values()) == counts["images"]
    assert counts["train"] + counts["validation"] == counts["masks"] > 0
    assert whole.exit_code == 0


def test_the_status_of_a_finished_synthesis(whole: SynthReport) -> None:
    status = read_status(whole.output)
    assert status is not None and (status.kind, status.state) == ("synthesis", "finished")
    assert status.details["counts"]["train"] == whole.counts["train"]
    printed = CliRunner().invoke(app, ["status", whole.output])
    assert printed.exit_code == 0 and f"train {whole.counts['train']}" in printed.output, printed.output
    assert "ETA" not in printed.output


def test_the_trainer_reads_what_was_made(whole: SynthReport) -> None:
    folder = f"{whole.output}/dataset/train"
    source = open_source(folder)
    assert sum(source.sizes) == whole.counts["train"]
    sample = source.open(0)[0]
    image, mask = Image.open(io.BytesIO(sample.image)), Image.open(io.BytesIO(sample.mask or b""))
    assert image.size == mask.size == (64, 64) and mask.mode == "L" and sample.caption


def test_datasets_reads_both_splits_and_no_object_is_in_both(whole: SynthReport, tmp_path: Path) -> None:
    import datasets

    found = datasets.load_dataset(f"{whole.output}/dataset", cache_dir=str(tmp_path))
    for split in ("train", "validation"):
        assert len(found[split]) == whole.counts[split] > 0
    row = found["train"][0]
    assert isinstance(row["image"], Image.Image) and row["object"] in row["caption"]
    assert row["mask_area"] > 0 and row["item_id"] and row["recipe"]
    assert not set(found["train"]["object"]) & set(found["validation"]["object"])


@pytest.mark.parametrize("stop", [2, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (0, 7))])
def test_a_cut_in_the_middle_loses_and_doubles_nothing(whole: SynthReport, tmp_path: Path, stop: int) -> None:
    spec = spec_of(tmp_path)
    with pytest.raises(CutError):
        run_synthesis(spec, quiet=True, engine=Here(stop))
    assert json.loads((tmp_path / "out/status.json").read_text())["state"] == "failed"
    second = run_synthesis(spec, quiet=True, engine=Here())
    assert second.counts == whole.counts
    assert sum(second.parts.values()) + stop == sum(whole.parts.values())
    assert files(second) == files(whole)
    third = run_synthesis(spec, quiet=True, engine=Here(0))
    assert third.counts == whole.counts and not any(third.parts.values())


def test_other_settings_of_a_late_stage_keep_the_early_ones(whole: SynthReport, tmp_path: Path) -> None:
    first = run_synthesis(spec_of(tmp_path), quiet=True, engine=Here())
    dataset = {"format": "webdataset", "shard_size": 50, "validation": 0.2}
    second = run_synthesis(spec_of(tmp_path, dataset=dataset), quiet=True, engine=Here())
    assert (second.parts["captions"], second.parts["images"], second.parts["masks"]) == (0, 0, 0)
    assert {path.suffix for path in (tmp_path / "out/dataset/train").iterdir()} == {".tar"}
    samples = open_source(f"{second.output}/dataset/train")
    assert sum(samples.sizes) == first.counts["train"]
    assert samples.open(0)[0].mask is not None and samples.open(0)[0].caption


def test_a_bad_key_is_named() -> None:
    with pytest.raises(SpecError, match="did you mean 'captions'"):
        parse_synth_spec({"name": "x", "output": "y", "caption": {}})
    with pytest.raises(SpecError, match="max_area"):
        parse_synth_spec({"name": "x", "output": "y", "masks": {"min_area": 0.9}})
