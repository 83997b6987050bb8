"""Models larger than a card: `model.offload` changes no pixel, `model.quantize` is another base, and who has
neither."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention

from dreamcache import DreamCachePipeline
from dreamcache.core.config import EncodeSettings, GenerationSettings, Quantize
from dreamcache.core.errors import DreamCacheError, ModelError, SpecError
from dreamcache.inference.facts import describe_models, plan_facts
from dreamcache.inference.families import family_of
from dreamcache.inference.families.flux2_klein.pipeline import KleinPipeline
from dreamcache.inference.families.qwen_image.pipeline import QwenImagePipeline
from dreamcache.model.integration.base import PlaceShape
from dreamcache.model.integration.textual_sum import TextualSum
from dreamcache.model.memory import bytes_to_come, place, running_device
from dreamcache.storage.models import quantized
from dreamcache.storage.models.quantized import with_quantize
from jobs.doctor.memory import _needed, memory
from jobs.spec import parse_spec
from tests.families.klein import SIDE, photo, save_klein
from tests.families.qwen import save_qwen
from tests.families.sdxl import ours

EXACT = EncodeSettings(size=1024, dtype="float32")


def offloaded(base: Any, mode: str) -> None:
    """The hooks of accelerate that diffusers installs, with the CPU for a GPU. Its own call takes cpu:0, to which torch
    copies parameters as plain tensors, which accelerate cannot put back."""
    base.remove_all_hooks()
    for part in [one for one in base.components.values() if isinstance(one, torch.nn.Module)]:
        if mode == "model":
            accelerate.cpu_offload_with_hook(part, "cpu")
        else:
            accelerate.cpu_offload(part, torch.device("cpu"), offload_buffers=len(part._parameters) > 0)


@pytest.mark.parametrize("mode", [pytest.param("model", marks=pytest.mark.slow), "sequential"])
def test_an_offloaded_sdxl_gives_the_same_pixels(
    sdxl_folder: Path, sdxl_pipe: DreamCachePipeline, mode: str
) -> None:
    pipe = DreamCachePipeline.from_pretrained(sdxl_folder / "base", adapter=sdxl_folder / "adapter")
    pipe.set_progress_bar_config(disable=True)
    offloaded(pipe.base, mode)
    subject, known = (one.encode_reference(photo(1)) for one in (pipe, sdxl_pipe))
    assert subject.cache_key == known.cache_key
    assert all(torch.equal(subject.maps[place], known.maps[place]) for place in known.maps)
    assert np.array_equal(ours(pipe, subject), ours(sdxl_pipe, known))
    is_away = mode == "sequential"
    assert pipe.base.unet.conv_in.weight.is_meta == is_away, "between passes the weights are elsewhere"
    size = sum(weight.nbytes for weight in sdxl_pipe.base.unet.parameters())
    assert bytes_to_come(pipe.base) == (0 if is_away else size)
    assert running_device(pipe.base.unet) == pipe.device == torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["model", "sequential"])
def test_an_offloaded_klein_gives_the_same_pixels(tmp_path: Path, mode: str) -> None:
    family = family_of("dreamcache", str(save_klein(tmp_path / "klein")))
    base = family.describe_base(str(tmp_path / "klein"), None)
    images = []
    for is_offloaded in (False, True):
        pipe = KleinPipeline(base, family.describe_adapter(None, base), dtype=torch.float32, device="cpu")
        if is_offloaded:
            offloaded(pipe.base, mode)
        subject = pipe.encode_reference(photo(1, (64, 64)), settings=EXACT)
        sizes: dict[str, Any] = {"num_inference_steps": 2, "height": SIDE, "width": SIDE, "output_type": "np"}
        images.append(
            pipe(["a mug"], [subject], generator=[torch.Generator().manual_seed(7)], **sizes).images
        )
    assert np.array_equal(*images)


def test_on_a_cpu_nothing_is_offloaded(sdxl_pipe: DreamCachePipeline) -> None:
    """Encoders of a job with GPUs may have none: their weights are where passes run anyway."""
    assert place(sdxl_pipe.base, "cpu", "sequential") is sdxl_pipe.base
    assert not hasattr(sdxl_pipe.base.unet, "_hf_hook")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="enable_sequential_cpu_offload: needs a GPU"):
            sdxl_pipe.enable_sequential_cpu_offload()
        sdxl_pipe.offload("none", "cpu")


def job(base: str = "mini", gpus: float = 1, encoders: float = 1, **model: Any) -> Any:
    return parse_spec(
        {
            "name": "m", "catalog": "c.csv", "output": "o", "prompts": ["a mug"], "model": {"base": base, **model},
            "workers": {"generators": {"gpus": gpus}, "encoders": {"gpus": encoders}},
        }
    )  # fmt: skip


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the packages were there: identities and sizes are found without them."""
    monkeypatch.setattr(quantized, "find_spec", lambda name: name)


@pytest.mark.parametrize("quantize", ["int8", "nf4"])
@pytest.mark.usefixtures("installed")
def test_fewer_bits_are_another_base_and_offloading_is_not(quantize: Quantize) -> None:
    plain, fewer, off = (
        plan_facts(job(**model)) for model in ({}, {"quantize": quantize}, {"offload": "sequential"})
    )
    assert off.fingerprints == plain.fingerprints and off.reference == plain.reference
    assert fewer.base.fingerprint != plain.base.fingerprint
    assert fewer.base.plain_fingerprint == plain.base.fingerprint, "its adapter is still the one for it"
    other = with_quantize(plain.base, "nf4" if quantize == "int8" else "int8")
    assert len({other.fingerprint, fewer.base.fingerprint, plain.base.fingerprint}) == 3


def test_a_missing_package_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    for quantize, package in quantized.PACKAGES.items():
        expected = rf"model.quantize: {quantize} needs the package {package}, .* 'dreamcache\[quantize\]'"
        with pytest.raises(ModelError, match=expected) as refusal:
            plan_facts(job(quantize=quantize))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gpus": 0, "offload": "model"}, "model.offload: needs generators with a GPU"),
        ({"encoders": 0, "quantize": "nf4"}, "nf4 needs a GPU in every worker .* workers.encoders.gpus: 0"),
        ({"quantize": "int8", "loras": [{"path": "a.safetensors"}]}, "none where there are loras"),
        ({"offload": "model", "compile": "default"}, "none where compile is set"),
        ({"offload": "all"}, "offload"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("installed")
def test_what_cannot_be_is_refused_before_anything_runs(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plan_facts(job(**values))


@pytest.mark.parametrize("setting", [{"offload": "model"}, {"quantize": "int8"}])
@pytest.mark.usefixtures("installed")
def test_a_family_without_it_says_why(setting: dict[str, Any]) -> None:
    spec = job(**setting)
    with pytest.raises(SpecError, match=f"model.{next(iter(setting))}: must be none .* loaded whole"):
        describe_models("text-only", spec.model)
    assert describe_models("dreamcache", spec.model)


@pytest.mark.usefixtures("installed")
def test_the_memory_on_the_card_is_estimated_by_what_is_on_it(sdxl_folder: Path) -> None:
    spec = job(str(sdxl_folder / "base"), adapter=str(sdxl_folder / "adapter"))
    models, family = describe_models(spec.method, spec.model), family_of("dreamcache", spec.model.base)

    def weights(base: Any = models.base, **more: Any) -> int:
        settings = GenerationSettings()
        options: dict[str, Any] = {"batch_size": 0, "dtype": "bfloat16", "on_gpu": False, **more}
        return family.worker_bytes(base, models.adapter, settings, **options)

    whole, by_model, by_layer = weights(), weights(offload="model"), weights(offload="sequential")
    assert whole > by_model > by_layer > 0
    eight, four = (weights(with_quantize(models.base, bits)) for bits in ("int8", "nf4"))
    assert whole > eight > four > whole / 4
    # A batch that is decoded while the next is denoised takes the memory of both; not where models are moved.
    batch, beside = {"batch_size": 4}, {"batch_size": 4, "overlaps_decoding": True}
    assert weights(**beside) > weights(**batch) and weights(overlaps_decoding=True) == whole
    assert weights(**beside, offload="model") == weights(**batch, offload="model")
    assert weights(**beside) < 2 * weights(**batch)


@pytest.mark.usefixtures("installed")
def test_doctor_counts_what_is_on_the_card_and_names_the_settings(sdxl_folder: Path) -> None:
    node = {"gpus": [{"free": 800_500_000}], "free_bytes": 1 << 40}
    model = {"adapter": str(sdxl_folder / "adapter"), "dtype": "float32"}
    verdict = memory(job(str(sdxl_folder / "base"), **model), [node])
    assert "or set model.offload: model or model.quantize: nf4" in str(verdict)
    smaller = memory(job(str(sdxl_folder / "base"), **model, offload="sequential", quantize="nf4"), [node])
    assert "model.offload" not in str(smaller)


@pytest.mark.usefixtures("installed")
def test_doctor_counts_a_decoding_beside_the_denoiser(sdxl_folder: Path) -> None:
    spec = job(str(sdxl_folder / "base"), adapter=str(sdxl_folder / "adapter"))
    apart = replace(spec, workers=replace(spec.workers, overlap_decoding="off"))
    size = spec.workers.batch_size
    assert spec.overlaps_decoding and _needed(spec, [], True)(size) > _needed(apart, [], True)(size)
    node = {"gpus": [{"free": _needed(apart, [], True)(size)}], "free_bytes": 0}
    remedies = [memory(one, [node]).remedy for one in (spec, apart)]
    assert ["workers.overlap_decoding: off" in remedy for remedy in remedies] == [True, False]


NEEDS_TORCHAO = pytest.mark.skipif(
    find_spec("torchao") is None, reason="needs torchao: pip install 'dreamcache[quantize]'"
)


@pytest.mark.slow
@NEEDS_TORCHAO
@pytest.mark.parametrize(("save", "kind"), [(save_klein, KleinPipeline), (save_qwen, QwenImagePipeline)])
def test_int8_weights_of_bases_that_read_references_themselves(save: Any, kind: Any, tmp_path: Path) -> None:
    family = family_of("dreamcache", str(save(tmp_path / "base")))
    base, images = family.describe_base(str(tmp_path / "base"), None), []
    sizes: dict[str, Any] = {"num_inference_steps": 2, "height": 64, "width": 64, "output_type": "np"}
    for info in (base, with_quantize(base, "int8")):
        pipe = kind(info, family.describe_adapter(None, info), dtype=torch.float32, device="cpu")
        subject = pipe.encode_reference(photo(1, (64, 64)), settings=EncodeSettings(size=64, dtype="float32"))
        images.append(
            pipe(["a mug"], [subject], generator=[torch.Generator().manual_seed(7)], **sizes).images
        )
    layers = [one for part in family.quantized for one in getattr(pipe.base, part).modules()]
    kinds = {type(one.weight).__name__ for one in layers if isinstance(one, torch.nn.Linear)}
    assert "Int8Tensor" in kinds
    assert 1e-6 < np.abs(images[0] - images[1]).mean() < 0.05


@pytest.mark.slow
@NEEDS_TORCHAO
def test_int8_weights_by_torchao_are_close_to_the_base_and_have_keys_of_their_own(
    sdxl_folder: Path, sdxl_pipe: DreamCachePipeline
) -> None:
    folder = {"adapter": sdxl_folder / "adapter"}
    pipe = DreamCachePipeline.from_pretrained(sdxl_folder / "base", **folder, quantize="int8")  # type: ignore[arg-type]
    pipe.set_progress_bar_config(disable=True)
    weight = pipe.base.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight
    assert "int8" in str(getattr(weight, "qdata", weight).dtype)
    subject, known = (one.encode_reference(photo(1)) for one in (pipe, sdxl_pipe))
    assert subject.cache_key != known.cache_key
    with pytest.raises(DreamCacheError, match="base"):
        ours(pipe, known)
    difference = np.abs(ours(pipe, subject) - ours(sdxl_pipe, known))
    assert 1e-6 < difference.mean() < 0.05
    assert replace(pipe.info, quantize="none") != pipe.info
    with pytest.raises(ModelError, match="save_pretrained"):
        pipe.save_pretrained(sdxl_folder / "copy")


def test_an_integration_that_reads_a_bases_weight_reads_an_offloaded_one() -> None:
    torch.manual_seed(0)
    attention = Attention(query_dim=16, cross_attention_dim=8, heads=2, dim_head=8)
    adapter = TextualSum(PlaceShape(channels=16, heads=2, text=8))
    torch.nn.init.normal_(adapter.to_v.weight)
    x, output = torch.randn(2, 6, 16), torch.randn(2, 6, 16)
    memory = adapter.project(torch.randn(2, 16, 3, 3))
    with torch.no_grad():
        whole = adapter(x, output, memory, attention)
        accelerate.cpu_offload(attention, torch.device("cpu"))
        assert attention.to_out[0].weight.is_meta
        away = adapter(x, output, memory, attention)
    assert not torch.allclose(whole, output)
    assert torch.allclose(whole, away, atol=1e-5)
