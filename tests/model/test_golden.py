"""Agreement with the published method on its golden numbers, where the shared folder is at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from dreamcache.core.errors import ModelError
from dreamcache.model.adapter_io import import_published, load_adapter, named_tensors
from dreamcache.model.inject import Memory, injecting
from dreamcache.model.places import default_places
from dreamcache.model.tap import tap_features
from dreamcache.storage.models.adapter import describe_adapter
from dreamcache.storage.models.base import describe_base
from tests.command import in_process
from tests.tiny import save_base

GOLDEN = Path(__file__).parents[3] / "shared/golden/sd21_layout"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden numbers at {GOLDEN}")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    unet = UNet2DConditionModel(**json.loads((GOLDEN / "unet_config.json").read_text()))
    unet.load_state_dict({name: w.float() for name, w in load_file(GOLDEN / "unet.safetensors").items()})
    return unet.eval()


@torch.no_grad()
def test_features_and_outputs_agree(unet: UNet2DConditionModel) -> None:
    io = load_file(GOLDEN / "io.safetensors")
    adapter = import_published(GOLDEN / "cross_attention.pt", unet)
    assert adapter.places == default_places(unet)
    features = tap_features(unet, io["reference_latent"], 1, io["null_text"], adapter.places)
    for place, value in features.items():
        assert (value - io[f"feature.{place}"]).abs().max() < TOLERANCE
    plain = unet(io["latent"], io["timestep"], io["text"]).sample
    assert (plain - io["out_without_reference"]).abs().max() < TOLERANCE
    memory = Memory(keys_values=adapter.project({p: f.expand(2, -1, -1, -1) for p, f in features.items()}))
    with injecting(unet, adapter, memory):
        personalized = unet(io["latent"], io["timestep"], io["text"]).sample
    assert (personalized - io["out_with_reference"]).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("change", "says"), [("missing", "missing"), ("extra", "not expected"), ("shape", "has shape")]
)
def test_importer_refuses_what_does_not_fit(
    unet: UNet2DConditionModel, tmp_path: Path, change: str, says: str
) -> None:
    state = torch.load(GOLDEN / "cross_attention.pt", weights_only=True)
    first = next(iter(state))
    if change == "missing":
        del state[first]
    elif change == "extra":
        state["diffusion_model.input_blocks.1.1.transformer_blocks.0.attn_mem.to_q.weight"] = torch.zeros(2)
    else:
        state[first] = torch.zeros(80, 80)
    torch.save(state, tmp_path / "cross_attention-5.pt")
    with pytest.raises(ModelError, match=says):
        import_published(tmp_path / "cross_attention-5.pt", unet)


def test_importer_refuses_what_is_no_plain_state_dict(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="must be a torch file"):
        import_published(tmp_path / "a.pt", unet)
    torch.save({"a": Path}, tmp_path / "b.pt")  # a pickled class: refused, not run
    with pytest.raises(ModelError, match="must be a torch file"):
        import_published(tmp_path / "b.pt", unet)


def test_the_command_imports_a_published_checkpoint(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    unet.save_pretrained(base / "unet")
    checkpoint = tmp_path / "cross_attention-200000.pt"
    checkpoint.write_bytes((GOLDEN / "cross_attention.pt").read_bytes())
    folder = str(tmp_path / "adapter")
    done = in_process("adapter", "import", str(checkpoint), "--base", str(base), "--output", folder)
    assert done.returncode == 0, done.stderr
    assert "5 places" in done.stdout
    info = describe_adapter(folder, describe_base(str(base)))
    assert info.step == 200000
    ours, theirs = load_adapter(info, unet), import_published(checkpoint, unet)
    assert all(torch.equal(value, named_tensors(theirs)[name]) for name, value in named_tensors(ours).items())

    other = save_base(tmp_path / "other")
    with pytest.raises(ModelError, match="was trained on base"):
        describe_adapter(folder, describe_base(str(other)))
