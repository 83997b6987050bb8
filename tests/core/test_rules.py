"""Rules of settings hold in Python and from YAML, with the same words; no number is NaN or infinite."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from dreamcache.core.config import EncodeSettings, GenerationSettings, ImageFormat, ImageLimits
from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.failures import FailurePolicy
from dreamcache.core.config.job import JobSpec, Limits, WorkerSpec, WorkersSpec
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.config.rules import Settings
from dreamcache.core.config.train import (
    DataSettings,
    IntervalSettings,
    LossSettings,
    OptimizerSettings,
    ReferenceSettings,
    TransformSettings,
)
from dreamcache.core.errors import SpecError
from dreamcache.evaluation.bootstrap import BootstrapSettings
from jobs.evaluate.spec import DreamBenchSpec, EvalSpec, SweepSpec
from jobs.spec import parse_spec
from jobs.train.spec import TrainWorkersSpec

BROKEN: list[tuple[type, dict[str, Any], str]] = [
    (EncodeSettings, {"timestep": 1000}, "timestep must be from 0 to 999, got 1000"),
    (EncodeSettings, {"size": 20}, "size must be 0 or a multiple of 8 pixels, got 20"),
    (EncodeSettings, {"margin": 0.5}, "margin must be from 0 to less than 0.5 of the side, got 0.5"),
    (EncodeSettings, {"segmenter_models": {"x": "y"}}, "segmenter_models must be of grounding-dino, sam, lang-sam"),
    (GenerationSettings, {"num_inference_steps": 0}, "num_inference_steps must be from 1 to 999, got 0"),
    (GenerationSettings, {"num_inference_steps": 1000}, "num_inference_steps must be from 1 to 999, got 1000"),
    (GenerationSettings, {"strength": 1.1}, "strength must be from 0 to 1, got 1.1"),
    (GenerationSettings, {"strength": -0.1}, "strength must be from 0 to 1, got -0.1"),
    (GenerationSettings, {"height": -8}, "height must be 0 or a multiple of 8 pixels, got -8"),
    (GenerationSettings, {"scheduler": "eulr"}, "scheduler must be one of ddim"),
    (ImageFormat, {"quality": 101}, "quality must be from 1 to 100, got 101"),
    (ImageLimits, {"max_pixels": 0}, "max_pixels must be at least 1, got 0"),
    (Limits, {"min_side": 0}, "min_side must be at least 1, got 0"),
    (Limits, {"max_hours": 0.0}, "max_hours must be more than 0, got 0.0"),
    (Limits, {"max_items": 0}, "max_items must be at least 1, got 0"),
    (WorkerSpec, {"count": 0}, "count must be at least 1, got 0"),
    (WorkerSpec, {"gpus": -1}, "gpus must be 0 or more, got -1"),
    (WorkerSpec, {"count": 3, "max_count": 2}, r"max_count must be at least count \(3\), got 2"),
    (WorkerSpec, {"resources": {"tpu": -1}}, "resources must be a mapping of values that are 0 or more"),
    (WorkersSpec, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
    (FailurePolicy, {"max_rounds": 0}, "max_rounds must be at least 1, got 0"),
    (FailurePolicy, {"storage_patience_s": -1}, "storage_patience_s must be 0 or more, got -1"),
    (MetricSettings, {"segment_size": 15}, "segment_size must be at least 16, got 15"),
    (QualitySettings, {"min_image": 1.5}, "min_image must be from -1 to 1, got 1.5"),
    (QualitySettings, {"min_text": 0.1, "tries": 65}, "tries must be from 1 to 64, got 65"),
    (DataSettings, {"path": "x", "shuffle_shards": 0}, "shuffle_shards must be at least 1, got 0"),
    (TransformSettings, {"min_side": 0.0}, "min_side must be more than 0 and at most 1, got 0.0"),
    (TransformSettings, {"erase_area": (0.2, 0.1)}, "erase_area must be two rising shares between 0 and 1"),
    (ReferenceSettings, {"parts": ()}, "parts must be of encoder, middle and decoder"),
    (LossSettings, {"drop_text": 0.7, "drop_image": 0.4}, "must be at most 1, got"),
    (OptimizerSettings, {"ema": 1.0}, "ema must be 0, or a decay below 1, got 1.0"),
    (IntervalSettings, {"levels": (0, 1000)}, r"levels must be from 0 to 999, got \(0, 1000\)"),
    (BootstrapSettings, {"level": 1.0}, "level must be between 0 and 1, got 1.0"),
    (BootstrapSettings, {"resamples": 99}, "resamples must be at least 100, got 99"),
    (DreamBenchSpec, {"path": "x", "num_prompts": 0}, "num_prompts must be at least 1, got 0"),
    (SweepSpec, {"within": -0.1}, "within must be 0 or more, got -0.1"),
    (EvalSpec, {"name": "x" * 61, "output": "o"}, "name must be 1-60 letters"),
    (TrainWorkersSpec, {"max_failures": -1}, "max_failures must be 0 or more, got -1"),
    (JobSpec, {"name": "a\n", "catalog": "c", "output": "o"}, "name must be 1-100 letters"),
    (JobSpec, {"name": "a", "catalog": "c", "output": "o", "method": "x"}, "method must be one of .*ip-adapter"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values", "message"), BROKEN)
def test_a_value_built_in_python_keeps_the_rules(kind: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**values)


def kinds(kind: type[Settings]) -> list[type]:
    below = [one for child in kind.__subclasses__() for one in kinds(child)]
    # dataclass(slots=True) builds a second class and leaves the first behind.
    return [kind, *below] if dataclasses.is_dataclass(kind) and "__slots__" in vars(kind) else below


def _is_choice(hint: object) -> bool:
    return get_origin(hint) is Literal


def test_no_number_of_any_setting_may_be_nan() -> None:
    """Every float there is, wherever it is."""
    tried = 0
    for kind in kinds(Settings):
        hints = get_type_hints(kind)
        required = {
            field.name: get_args(hints[field.name])[0] if _is_choice(hints[field.name]) else "x"
            for field in dataclasses.fields(kind)
            if field.default is field.default_factory is dataclasses.MISSING
        }
        for name, hint in hints.items():
            if hint in (float, float | None):
                for bad in (math.nan, math.inf):
                    with pytest.raises(ValueError, match=f"{name} must be a finite number, got {bad}"):
                        kind(**{**required, name: bad})
                    tried += 1
    assert tried > 60


def test_a_file_breaks_the_same_rules_in_the_same_words_and_all_at_once() -> None:
    values = {
        "name": "a",
        "catalog": "c",
        "output": "o",
        "samples": 0,
        "generation": {"strength": math.nan, "height": 20},
        "workers": {"generators": {"gpus": -1}},
    }
    with pytest.raises(SpecError) as raised:
        parse_spec(values, where="job.yaml")
    assert set(str(raised.value).split("; ")) == {
        "job.yaml: samples must be at least 1, got 0",
        "job.yaml: generation: strength must be a finite number, got nan",
        "job.yaml: generation: height must be 0 or a multiple of 8 pixels, got 20",
        "job.yaml: workers.generators: gpus must be 0 or more, got -1",
    }


def test_settings_stay_plain_values() -> None:
    spec = JobSpec(name="a", catalog="c", output="o")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(GenerationSettings()) == hash(GenerationSettings())
    assert not hasattr(spec, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "b"  # type: ignore[misc]
