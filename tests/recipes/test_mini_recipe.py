"""The recipe end to end at toy size: every stage runs, resumes, and its export is a model that the product loads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamcache import DreamCachePipeline
from dreamcache.mini.world import HELD_OUT_FROM, design_from_seed
from recipes.mini.make import (
    checkpoints,
    clip,
    data,
    evaluate,
    export,
    grid,
    latents,
    optimizer,
    refine,
    train,
    unet,
    vae,
)
from recipes.mini.make.checkpoints import Clock
from recipes.mini.make.settings import Settings, resume
from recipes.mini.measure.queries import photo

pytestmark = [pytest.mark.slow, pytest.mark.turns(unit="module"), pytest.mark.timeout(900)]

CPU = torch.device("cpu")


def toy(work: Path) -> Settings:
    """Seconds of training at every stage."""
    return Settings(
        work=work, device="cpu", threads=1, processes=1, designs=36, shard=12, held_out=24, vae_designs=24,
        scenes_per_design=2, vae_minutes=0.03, vae_batch=2, refine_minutes=0.02, clip_minutes=0.02, clip_batch=12,
        unet_minutes=0.15, unet_batch=4, adapter_designs=6, adapter_steps=4, checkpoint_minutes=0.01,
        validate_minutes=10.0, validated=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = toy(tmp_path_factory.mktemp("recipe"))
    for stage in (data, vae, refine, clip, latents, unet, export):
        stage.run(settings)
    return settings


def test_the_exported_model_has_the_new_latents_and_the_product_generates_with_it(trained: Settings):
    pipe = DreamCachePipeline.from_pretrained(str(trained.target), adapter=str(trained.target / "adapter"))
    assert pipe.base.vae.config.latent_channels == pipe.base.unet.config.in_channels == 16
    subject = pipe.encode_reference(photo(HELD_OUT_FROM, 64)[0])
    name = design_from_seed(HELD_OUT_FROM).class_name
    images = pipe([f"a {name} on the beach"], [subject], num_inference_steps=2).images
    assert images[0].size == (64, 64)
    assert json.loads((trained.target / "adapter" / "config.json").read_text())["training"]["stage"] == "unet"


def test_the_unet_sees_calm_designs_first_and_then_all(trained: Settings):
    calm = latents.load_latents(trained, ("calm",), CPU)
    every = latents.load_latents(trained, ("calm", "full"), CPU)
    assert (len(calm), len(every)) == (12, 36)
    assert calm.gather("picture", torch.tensor([0, 11])).shape == (2, 2, 16, 16, 16)
    assert torch.equal(
        every.gather("caption", torch.tensor([12]))[0], every.gather("caption", torch.tensor([12, 35]))[0]
    )
    points = [json.loads(line) for line in (trained.work / "unet" / "curve.jsonl").read_text().splitlines()]
    assert {point["level"] for point in points} == {300, 500, 700}


def test_what_is_not_on_disk_is_rendered_where_it_is_encoded_and_is_the_same(
    trained: Settings, tmp_path: Path
):
    shard = data.shards(trained)[2]
    written = data.read(trained.work / "data", shard)
    rendered = data.read(tmp_path, shard)
    for name in data.ARRAYS:
        assert np.array_equal(written[name], rendered[name])
    assert not (trained.work / "data" / data.shards(trained)[3].name).exists()


def test_a_finished_stage_does_nothing_and_a_longer_budget_resumes(trained: Settings):
    step = checkpoints.read(trained.work / "unet" / "last.pt")["step"]  # type: ignore[index]
    assert train.progress(trained) >= 1.0
    unet.run(trained)
    assert checkpoints.read(trained.work / "unet" / "last.pt")["step"] == step  # type: ignore[index]
    longer = replace(trained, unet_minutes=trained.unet_minutes * 2)
    unet.run(longer)
    assert checkpoints.read(trained.work / "unet" / "last.pt")["step"] > step  # type: ignore[index]


def test_the_newest_checkpoint_can_be_looked_at(trained: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluate, "_SUBJECTS", 2)
    monkeypatch.setattr(evaluate, "_SCENES_EACH", 1)
    evaluate.run(trained)
    report = json.loads((trained.work / "evaluate.jsonl").read_text().splitlines()[-1])
    assert 0 <= report["right: retrieval"] <= 1
    monkeypatch.setattr(grid, "SCENES", ("beach",))
    monkeypatch.setattr(grid, "NAMES", ("mug",))
    grid.run(trained)
    assert len(list((trained.work / "grids").glob("step-*.png"))) == 1


def test_the_gate_ends_the_autoencoders_training(trained: Settings, tmp_path: Path):
    settings = replace(
        toy(tmp_path), vae_minutes=1000.0, gate_psnr=1.0, gate_object_psnr=1.0, checkpoint_minutes=0.002
    )
    shutil.copytree(trained.work / "data", tmp_path / "data")
    vae.run(settings)  # ends at all
    assert (tmp_path / "vae" / "vae.pt").exists()
    assert not (tmp_path / "vae" / "vae-last.pt").exists()


def test_the_loss_sees_the_object_and_its_rim():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4, 4] = 1.0
    gap = torch.zeros(1, 3, 8, 8)
    model = vae.new_vae(4)
    adam = optimizer.MatrixAdam(model.parameters(), lr=0.0)
    torch.manual_seed(0)
    plain = vae.take_step(model, adam, gap, mask, 1.0)
    torch.manual_seed(0)
    assert vae.take_step(model, adam, gap, mask, 3.0) != plain


def test_settings_are_those_of_the_work_folder_and_finished_stages_keep_theirs(tmp_path: Path):
    first = resume(tmp_path, {"designs": 48, "unet_minutes": 5.0})
    again = resume(tmp_path, {"unet_minutes": 7.0})
    assert (first.designs, again.designs, again.unet_minutes) == (48, 48, 7.0)
    with pytest.raises(ValueError, match="latent_channels is 16 and cannot become 12"):
        resume(tmp_path, {"latent_channels": 12})
    moved = shutil.copytree(tmp_path, tmp_path / "moved")
    assert resume(moved, {}).work == moved


def test_the_clock_counts_work_and_a_cool_down_ends_it_soon():
    clock = Clock(10.0, 3.0, device=CPU)
    assert 0.3 <= clock.share < 0.31
    clock.cool_down()
    assert clock.budget == pytest.approx(3.0 / checkpoints.COOL_FROM, rel=0.01)
    assert checkpoints.trapezoid(1.0, 1000) < 0.1 < checkpoints.trapezoid(0.5, 1000) == 1.0
