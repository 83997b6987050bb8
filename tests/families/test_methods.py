"""Other methods on tiny models of the real classes: through the generator, as the job calls them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from dreamcache.core.config import GenerationSettings, ImageLimits
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.core.records import Reference, Request
from dreamcache.inference.families.photo import PhotoConditions
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import Generated
from dreamcache.storage.models.base import describe_base
from tests.end_to_end.photos import picture
from tests.families.models import describe_adapter, open_method, save_ip_adapter
from tests.tiny import save_base

SETTINGS = GenerationSettings(num_inference_steps=2, text_scale=3.0, image_scale=1.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_base(tmp_path_factory.mktemp("methods") / "base"))


@pytest.fixture(scope="module")
def ip_adapter(base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_ip_adapter(tmp_path_factory.mktemp("ip-adapter"), base)


@pytest.fixture
def requests(tmp_path: Path) -> list[Request]:
    made = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        picture(number).save(path)
        made.append(
            Request(
                item_id=f"{number}",
                subject_id=f"s{number}",
                class_name="mug",
                reference_id=Reference.id_of(path.read_bytes(), None),
                cache_key="",
                image=str(path),
                mask=None,
                prompt="a mug on sand",
                sample=0,
                seed=7,
            )
        )
    return made


def draw(pipe: object, requests: list[Request], **changes: float) -> dict[str, np.ndarray]:
    conditions = PhotoConditions(pipe, ImageLimits())
    settings = GenerationSettings(**{**SETTINGS.as_dict(), **changes})
    generator = Generator(pipe, settings, conditions.get, batch_size=2)
    outcomes = generator.generate(requests)
    assert all(isinstance(outcome, Generated) for outcome in outcomes), outcomes
    return {outcome.item_id: outcome.rgb for outcome in outcomes}


def test_text_only_is_the_plain_base_model(base: str, requests: list[Request]) -> None:
    made = draw(open_method("text-only", base), requests)
    assert np.array_equal(made["0"], made["1"])  # the same prompt and seed; the photo plays no part
    pipe = StableDiffusionPipeline.from_pretrained(base)
    plain = pipe(
        "a mug on sand",
        num_inference_steps=2,
        guidance_scale=3.0,
        height=128,
        width=128,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    assert np.abs(made["0"] / 255.0 - plain).max() < 2 / 255


def test_ip_adapter_reads_each_photo(base: str, ip_adapter: str, requests: list[Request]) -> None:
    pipe = open_method("ip-adapter", base, adapter=ip_adapter)
    made = draw(pipe, requests)
    assert not np.array_equal(made["0"], made["1"])
    alone = draw(pipe, requests[1:2])
    assert np.abs(alone["1"].astype(int) - made["1"].astype(int)).max() <= 1  # its own photo in any batch
    without = draw(pipe, requests, image_scale=0.0)
    assert np.array_equal(without["0"], without["1"])
    assert (
        np.abs(
            without["0"].astype(int) - draw(open_method("text-only", base), requests)["0"].astype(int)
        ).max()
        <= 1
    )


def test_ip_adapter_equals_diffusers_alone(base: str, ip_adapter: str, requests: list[Request]) -> None:
    made = draw(open_method("ip-adapter", base, adapter=ip_adapter), requests[:1])
    pipe = StableDiffusionPipeline.from_pretrained(base)
    folder = Path(ip_adapter)
    pipe.load_ip_adapter(str(folder.parent), subfolder="", weight_name=folder.name)
    pipe.set_ip_adapter_scale(1.0)
    plain = pipe(
        "a mug on sand",
        ip_adapter_image=picture(0),
        num_inference_steps=2,
        guidance_scale=3.0,
        height=128,
        width=128,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    assert np.abs(made["0"] / 255.0 - plain).max() < 2 / 255


def test_methods_have_fingerprints_of_their_own(base: str, ip_adapter: str) -> None:
    info = describe_base(base)
    text = describe_adapter("text-only", None, info)
    with_adapter = describe_adapter("ip-adapter", ip_adapter, info)
    assert text.fingerprint != with_adapter.fingerprint
    assert open_method("text-only", base).adapter_info == text


@pytest.mark.parametrize(
    ("method", "adapter", "message"),
    [
        ("text-only", "/some/adapter", "takes no adapter"),
        ("ip-adapter", None, "got none"),
        ("ip-adapter", "/nowhere/x.safetensors", "image_encoder/ beside it"),
        ("ip-adapter", "hub://owner/name/x.safetensors@main", "40 hex digits"),
    ],
)
def test_what_does_not_fit_is_refused(base: str, method: str, adapter: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_method(method, base, adapter=adapter)


def test_unknown_methods_are_refused(base: str) -> None:
    with pytest.raises(SpecError, match="did you mean 'ip-adapter'"):
        open_method("ip-adaptor", base)
