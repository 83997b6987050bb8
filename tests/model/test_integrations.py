"""The variants of docs/method.md section 7: against the plain formulas, by parameter count, and to disk and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from diffusers import UNet2DConditionModel

from dreamcache import DreamCachePipeline, EncodeSettings
from dreamcache.core.config import IntegrationName
from dreamcache.core.errors import ModelError
from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.adapter_io import load_adapter, named_tensors, save_adapter
from dreamcache.model.denoiser import Conditions, GuidedDenoiser
from dreamcache.model.guidance import combined
from dreamcache.model.inject import Memory, injecting
from dreamcache.model.integration import INTEGRATIONS
from dreamcache.model.places import chosen_places, default_places, place_shapes
from dreamcache.model.tap import tap_features
from dreamcache.storage.models.adapter import MIDDLE, describe_adapter
from tests.model.plain import PlainModel
from tests.model.test_against_plain import photo
from tests.tiny import TEXT_WIDTH, make_unet

NAMES = get_args(IntegrationName)
ALL = ("encoder", "middle", "decoder")


def randomized(adapter: DreamCacheAdapter) -> DreamCacheAdapter:
    """Far from the identity, so that the image condition shows."""
    torch.manual_seed(2)
    for parameter in adapter.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        else:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return adapter


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return make_unet(random_norms=True).requires_grad_(False)


@pytest.mark.parametrize(
    ("integration", "parts", "every", "features"),
    [
        ("spatial_sum", ("middle", "decoder"), 2, "own"),
        ("textual_sum", ("middle", "decoder"), 2, "own"),
        ("decoupled", ("middle", "decoder"), 2, "own"),
        ("spatial_concat", ALL, 1, "own"),
        ("spatial_concat", ("encoder",), 2, "own"),
        ("textual_sum", ("encoder", "middle"), 1, "own"),
        ("spatial_concat", ALL, 1, "middle"),
        ("decoupled", ("decoder",), 1, "middle"),
    ],
)
@torch.no_grad()
def test_guided_prediction_against_the_formulas(
    unet: UNet2DConditionModel,
    integration: IntegrationName,
    parts: tuple[str, ...],
    every: int,
    features: str,
) -> None:
    """Two samples, the second without a subject; combined guidance over a fresh pass of the whole U-Net a branch."""
    places = chosen_places(unet, parts, every)
    adapter = randomized(
        DreamCacheAdapter(place_shapes(unet, places, features), integration=integration, features=features)  # type: ignore[arg-type]
    )
    draw = torch.Generator().manual_seed(3)
    reference, x = torch.randn(1, 4, 16, 16, generator=draw), torch.randn(2, 4, 16, 16, generator=draw)
    text, null = (torch.randn(2, 77, TEXT_WIDTH, generator=draw) for _ in range(2))
    source = MIDDLE if features == "middle" else None
    plain = PlainModel(unet, named_tensors(adapter), [source] if source else list(places), integration)
    wanted = plain.features(reference, 1, null[:1])
    maps = tap_features(unet, reference, 1, null[:1], adapter.feature_places)
    assert set(maps) == set(wanted) and len(maps) == (1 if source else len(places))

    given = Conditions(
        mode="combined",
        text=text,
        null_text=null,
        subjects=[adapter.project(maps), None],
        text_scale=torch.full((2,), 3.0),
        image_scale=torch.full((2,), 1.5),
        strength=torch.ones(2),
    )
    got = GuidedDenoiser(unet, adapter, given)(x, torch.tensor(401))
    plain = PlainModel(unet, named_tensors(adapter), list(places), integration, source)
    for row, image in enumerate((wanted, None)):
        x1, text1, null1 = x[row : row + 1], text[row : row + 1], null[row : row + 1]
        e00, e10, e11 = (plain(x1, 401, i, t) for i, t in ((None, null1), (image, null1), (image, text1)))
        expected = combined(e00, e10, e11, 1.5, 3.0)
        assert (got[row] - expected[0]).abs().max() < 1e-4 * expected.abs().max()
        if image is not None:
            assert (e10 - e00).abs().max() > 1e-2 * e00.abs().max()


@pytest.mark.parametrize("integration", NAMES)
@torch.no_grad()
def test_a_new_adapter_is_the_base_and_strength_blends(
    unet: UNet2DConditionModel, integration: IntegrationName
) -> None:
    adapter = DreamCacheAdapter(place_shapes(unet, chosen_places(unet, ALL, 2)), integration=integration)
    draw = torch.Generator().manual_seed(4)
    x, text = torch.randn(1, 4, 16, 16, generator=draw), torch.randn(1, 77, TEXT_WIDTH, generator=draw)
    maps = tap_features(unet, x, 1, text, adapter.feature_places)
    plain = unet(x, 401, text).sample

    def injected(strength: float) -> torch.Tensor:
        memory = Memory(keys_values=adapter.project(maps), strength=torch.full((1, 1, 1), strength))
        with injecting(unet, adapter, memory):
            return unet(x, 401, text).sample

    assert (injected(1.0) - plain).abs().max() < 1e-5 * plain.abs().max()
    randomized(adapter)
    assert torch.equal(injected(0.0), plain)
    assert (injected(1.0) - plain).abs().max() > (injected(0.3) - plain).abs().max() > 1e-3


@pytest.mark.parametrize("text_width", [768, 1024], ids=["SD 1.5", "SD 2.1"])
def test_numbers_of_parameters(text_width: int) -> None:
    """In millions. The paper's table: 25 spatial concat, 16 spatial sum, 19 textual sum, 61 decoupled."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=text_width, attention_head_dim=8)

        def millions(integration: IntegrationName, places: tuple[str, ...], *names: str) -> float:
            adapter = DreamCacheAdapter(place_shapes(unet, places), integration=integration)
            return (
                sum(p.numel() for n, p in adapter.named_parameters() if any(name in n for name in names))
                / 1e6
            )

        five, everywhere = default_places(unet), chosen_places(unet, ALL, 1)
        assert len(five) == 5 and len(everywhere) == 16
        assert millions("spatial_concat", five, "") == pytest.approx(25.21, abs=0.01)
        assert millions("spatial_sum", five, "") == pytest.approx(16.81, abs=0.01)
        assert millions("decoupled", five, "") == pytest.approx(
            58.83, abs=0.01
        )  # our reading of the paper's 61
        # IP-Adapter's K' and V' at all text attentions of SD 1.5: our reading of the paper's 19 M.
        wanted = {768: 19.17, 1024: 25.56}[text_width]
        assert millions("textual_sum", everywhere, "to_k", "to_v") == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize(
    ("integration", "features"), [(name, "own") for name in NAMES] + [("spatial_sum", "middle")]
)
def test_variants_go_to_disk_and_draw(
    epsilon_pipe: DreamCachePipeline, tmp_path: Path, integration: IntegrationName, features: str
) -> None:
    """An adapter is saved, described, loaded and used; encoder places too. What no release knows is refused by name."""
    base, info = epsilon_pipe.base, epsilon_pipe.info
    shapes = place_shapes(base.unet, chosen_places(base.unet, ALL, 2), features)  # type: ignore[arg-type]
    adapter = randomized(DreamCacheAdapter(shapes, integration=integration, features=features))  # type: ignore[arg-type]
    save_adapter(adapter, str(tmp_path), base=info, step=3, dtype=torch.float32)
    found = describe_adapter(str(tmp_path), info)
    assert (found.integration, found.features, found.places) == (integration, features, adapter.places)
    assert found.feature_places == ((MIDDLE,) if features == "middle" else adapter.places)
    loaded = load_adapter(found, base.unet)
    for name, value in named_tensors(adapter).items():
        assert torch.equal(named_tensors(loaded)[name], value)
    pipe = DreamCachePipeline(base, info, loaded, found)
    subject = pipe.encode_reference(photo(), settings=EncodeSettings(segmenter="none"))
    assert set(subject.maps) == set(found.feature_places)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    injected, plain = (
        pipe("a mug", who, latents=noise, num_inference_steps=1, output_type="latent").images
        for who in (subject, None)
    )
    assert torch.isfinite(injected).all() and (injected - plain).abs().max() > 1e-3

    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "integration": "telepathy"}))
    with pytest.raises(ModelError, match=r"its integration must be spatial_concat or .*, is 'telepathy'"):
        describe_adapter(str(tmp_path), info)


def test_every_name_has_its_class() -> None:
    assert tuple(INTEGRATIONS) == NAMES


def test_a_class_name_in_the_encoding_text(epsilon_pipe: DreamCachePipeline) -> None:
    """It decides the features and their key; a sample's caption is for training only."""

    def encoded(text: str, class_name: str) -> tuple[str, torch.Tensor]:
        settings = EncodeSettings(segmenter="none", text=text)
        found = epsilon_pipe.encode_reference(photo(), class_name=class_name, settings=settings)
        return found.cache_key, found.maps[MIDDLE]

    mug, dog, fixed = (
        encoded("a {class_name}", "mug"),
        encoded("a {class_name}", "dog"),
        encoded("a mug", "dog"),
    )
    assert mug[0] != dog[0] and not torch.equal(mug[1], dog[1])
    assert torch.equal(mug[1], fixed[1]) and fixed[0] == encoded("a mug", "mug")[0]
    with pytest.raises(ValueError, match="only a training sample has one"):
        EncodeSettings(text="{caption}")
