"""Arithmetic on a model's small files agrees with the real model."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from dreamcache import DreamCachePipeline
from dreamcache.core.config import DType, EncodeSettings, GenerationSettings, StoredDType
from dreamcache.core.errors import ModelError
from dreamcache.inference.families.sd.describe import FAMILY
from dreamcache.inference.families.sd_sizes import (
    count_parameters,
    feature_bytes,
    feature_shapes,
    passes_per_image,
)
from dreamcache.model.places import all_places
from dreamcache.model.sampler import SCHEDULERS, make_scheduler
from dreamcache.storage.models.adapter import describe_adapter
from dreamcache.storage.models.base import describe_base
from tests.tiny import save_base, save_random_adapter


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> DreamCachePipeline:
    folder = tmp_path_factory.mktemp("tiny")
    base = save_base(folder / "base")
    adapter = save_random_adapter(folder / "adapter", base)
    return DreamCachePipeline.from_pretrained(str(base), adapter=str(adapter))


def test_feature_shapes_are_those_of_the_model(tiny: DreamCachePipeline) -> None:
    dtypes: tuple[StoredDType, ...] = ("float16", "int8", "int5")
    for size, dtype in product((128, 136), dtypes):
        places = all_places(tiny.base.unet)
        settings = EncodeSettings(size=size, segmenter="none", places=places, dtype=dtype)
        made = tiny.encode_reference(Image.new("RGB", (64, 64), "red"), settings=settings)
        assert feature_shapes(tiny.info, settings) == {
            name: tuple(value.shape) for name, value in made.maps.items()
        }
        stored = made.to_stored()
        assert feature_bytes(tiny.info, settings) == sum(len(raw.data) for raw in stored.maps.values())


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_predictions_are_those_of_the_scheduler(tiny: DreamCachePipeline, scheduler: str) -> None:
    made = make_scheduler(scheduler, tiny.base.scheduler.config)
    made.set_timesteps(7)
    settings = GenerationSettings(num_inference_steps=7, scheduler=scheduler, guidance="joint")  # type: ignore[arg-type]
    assert passes_per_image(settings).evaluations == 2 * len(made.timesteps)
    combined = passes_per_image(GenerationSettings(num_inference_steps=7, scheduler=scheduler))  # type: ignore[arg-type]
    assert (combined.encoder_halves, combined.decoder_halves) == (
        2 * len(made.timesteps),
        3 * len(made.timesteps),
    )


def test_weights_are_counted_without_loading_them(tiny: DreamCachePipeline) -> None:
    parts = (tiny.base.unet, tiny.base.vae, tiny.base.text_encoder, tiny.adapter)
    there = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert tiny.adapter_info is not None
    assert count_parameters(tiny.info, tiny.adapter_info) == pytest.approx(there, rel=0.01)  # buffers


def test_memory_grows_with_the_batch() -> None:
    base = describe_base("mini")
    adapter = describe_adapter(None, base)

    def need(size: int, dtype: DType = "float32") -> int:
        return FAMILY.worker_bytes(
            base, adapter, GenerationSettings(), batch_size=size, dtype=dtype, on_gpu=False
        )

    weights = 4 * count_parameters(base, adapter)
    assert need(16) - weights == pytest.approx(2 * (need(8) - weights), rel=0.01)
    assert need(8, "bfloat16") == pytest.approx(need(8) / 2, rel=0.01)


def test_an_unknown_place(tiny: DreamCachePipeline) -> None:
    with pytest.raises(ModelError, match=r"place 'up_blocks.9': .* no such place"):
        feature_shapes(tiny.info, EncodeSettings(size=128, places=("up_blocks.9",)))


def test_a_file_that_is_no_safetensors(tmp_path: Path, model: dict[str, str]) -> None:
    base = describe_base(model["base"])
    with pytest.raises(ModelError, match="must be a whole safetensors file"):
        count_parameters(base, describe_adapter(model["adapter"], base))
