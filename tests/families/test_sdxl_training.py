"""Training an adapter for SDXL: resumed it equals one that never stopped, and a job uses the result."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import jobs
from dreamcache import DreamCachePipeline
from dreamcache.core.config.train import DataSettings, IntervalSettings, ReferenceSettings, TrainSettings
from dreamcache.core.errors import ModelError
from dreamcache.inference.families.open import layout_of
from dreamcache.inference.session import pinned_threads
from dreamcache.storage.models.adapter import describe_adapter
from dreamcache.training.checkpoints import TrainFolder
from dreamcache.training.loop import TrainLoop
from dreamcache.training.trainer import Trainer
from jobs.train.spec import load_train_spec
from tests.command import dreamcache, error_of, in_process
from tests.end_to_end.processes import RAY_AGENTS, running
from tests.families.klein import photo, save_klein
from tests.families.sdxl import SIDE, save_sdxl
from tests.train_samples import write_folder
from tests.training.trainers import KEEP_ALL, STEADY, copied

STEPS, EVERY = 6, 2
SECONDS = 1200
"""For a command that starts Ray, on a machine that does other things."""
WEIGHTS = Path("adapter", "adapter.safetensors")
DEPTHS = (1, 1, 2)
"""Transformer blocks of a level: a training reads as many kinds of weights with few as with ten."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdxl") / "base"
    return save_sdxl(folder, transformer_layers_per_block=DEPTHS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("data"), 4))


def trainer(base: Path, data: str, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {
        "data": DataSettings(path=data, validation=data),
        "loss": KEEP_ALL,
        "optimizer": STEADY,
        "every": IntervalSettings(log=1, checkpoint=3, validate=100, samples=0, levels=(200, 600)),
        "steps": 4,
        "global_batch": 4,
        "micro_batch": 4,
        "precision": "float32",
    }
    layout, chosen = layout_of(str(base), None), TrainSettings(**{**settings, **changes})
    info = layout.describe(str(base), None)
    loaded = layout.load(info, dtype=getattr(torch, chosen.precision), device="cpu")
    return Trainer(loaded, info, chosen, layout=layout)


def test_the_loss_is_the_bases_own_error_before_the_first_step(base: Path, data: str) -> None:
    """A new adapter leaves the base as it is; the base's own U-Net is called with pooled text and size ids here."""
    made = trainer(base, data)
    batch = torch.utils.data.default_collate([made.items[n] for n in range(4)])
    from contextlib import ExitStack

    with ExitStack() as hooks:
        ours = made.loss(batch, hooks).detach()
    pipe = made.base
    latents = pipe.vae.encode(batch["pixels"]).latent_dist.mode() * pipe.vae.config.scaling_factor
    steps = made.loss._timesteps(batch["share"])
    noised = made.loss.scheduler.add_noise(latents, batch["noise"], steps)
    text, _, pooled, _ = pipe.encode_prompt(batch["caption"], do_classifier_free_guidance=False)
    sizes = torch.tensor([[SIDE, SIDE, 0, 0, SIDE, SIDE]] * 4)
    more = {"text_embeds": pooled, "time_ids": sizes}
    with torch.no_grad():
        prediction = pipe.unet(noised, steps, text, added_cond_kwargs=more).sample
        other = pipe.unet(noised, steps, text, added_cond_kwargs={**more, "time_ids": sizes * 2}).sample
    expected, wrong = ((one - batch["noise"]).square().mean(dim=(1, 2, 3)) for one in (prediction, other))
    assert torch.allclose(ours, expected, rtol=1e-4)
    assert float((wrong - expected).abs().max()) > 100 * float((ours - expected).abs().max())


@pytest.mark.slow
@pytest.mark.turns(unit="module")
@pytest.mark.parametrize("unet", ["frozen", "trained"])
def test_resuming_equals_never_having_stopped(base: Path, data: str, tmp_path: Path, unet: Any) -> None:
    options = {"reference": ReferenceSettings(unet=unet)}
    whole, halves = TrainFolder(str(tmp_path / "whole")), TrainFolder(str(tmp_path / "halves"))
    straight = trainer(base, data, **options)
    before = copied(straight)
    TrainLoop(straight, whole, name="t").run()
    stopped = TrainLoop(trainer(base, data, **options), halves, name="t")
    steps = stopped.trainer.steps()
    for done in (next(steps) for _ in range(2)):
        stopped._log(done, [done.loss])
    stopped._save()
    next(steps)  # a step that no checkpoint saw
    resumed = TrainLoop(trainer(base, data, **options), halves, name="t")
    assert resumed.trainer.step == 2
    resumed.run()
    after, again = copied(straight), copied(resumed.trainer)
    assert set(after) == set(again)
    assert [name for name, value in after.items() if not torch.equal(value, again[name])] == []
    moved = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert any("to_k" in name for name in moved)
    if unet == "trained":
        assert any(name.startswith("reader/adapter/add_embedding") for name in moved), "it reads sizes too"
    info = layout_of(str(base), None).describe(str(base), None)
    assert describe_adapter(str(tmp_path / "whole" / "adapter"), info).places == straight.adapter.places
    pipe = DreamCachePipeline.from_pretrained(base, adapter=tmp_path / "whole" / "adapter")
    pipe.set_progress_bar_config(disable=True)
    subject = pipe.encode_reference(photo(1))
    assert np.isfinite(
        np.asarray(pipe("a box", subject, num_inference_steps=2, output_type="np").images)
    ).all()


def test_a_base_that_reads_references_itself_has_nothing_to_train(tmp_path: Path) -> None:
    save_klein(tmp_path / "klein")
    with pytest.raises(ModelError, match="no adapter is trained or put on it"):
        layout_of(str(tmp_path / "klein"), None)
    file = tmp_path / "train.yaml"
    values = {"name": "t", "output": "out", "model": {"base": "klein"}, "train": {"data": {"path": "data"}}}
    file.write_text(yaml.safe_dump(values))
    assert "no adapter is trained or put on it" in error_of(in_process("train", str(file)))
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.turns(unit="module")
@pytest.mark.timeout(3600)
def test_a_killed_training_resumes_and_a_job_runs_with_its_adapter(
    base: Path, data: str, tmp_path: Path
) -> None:
    train: dict[str, Any] = {
        "data": {"path": data, "validation": data, "validation_samples": 2},
        "optimizer": {"learning_rate": 0.005, "warmup_steps": 2, "ema": 0.9},
        "every": {"log": 1, "checkpoint": EVERY, "validate": 3, "samples": STEPS, "sample_count": 1, "sample_steps": 2},
        "steps": STEPS, "global_batch": 2, "micro_batch": 1, "precision": "float32",
    }  # fmt: skip
    file, output = tmp_path / "train.yaml", tmp_path / "training"
    values = {"name": "boxes", "output": "training", "model": {"base": str(base)}, "train": train}
    file.write_text(yaml.safe_dump(values))
    latest = output / "checkpoints" / "latest.json"
    with running("train", str(file), extra={}, log=tmp_path / "log") as driver:
        assert driver.wait_until(latest.exists, seconds=SECONDS), driver.log.read_text()
        assert driver.end(signal.SIGKILL) == -signal.SIGKILL
        driver.wait_alone(60, but=RAY_AGENTS)
    stopped_at = json.loads(latest.read_text())["step"]
    assert EVERY <= stopped_at < STEPS
    done = dreamcache("train", str(file), "--json", seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == STEPS
    assert (output / "samples" / f"step-{STEPS:07d}.png").exists()
    undisturbed = trained_here(file, tmp_path / "undisturbed")
    assert (output / WEIGHTS).read_bytes() == (undisturbed / WEIGHTS).read_bytes()
    a_job_runs_with(base, output, tmp_path)


def trained_here(file: Path, output: Path) -> Path:
    """The same training in this process, from its first step to its last; a worker of one has no group."""
    spec = load_train_spec(file)
    layout = layout_of(spec.model.base, None)
    info = layout.describe(spec.model.base, None)
    with pinned_threads(1):
        loaded = layout.load(info, dtype=torch.float32, device="cpu")
        one = Trainer(loaded, info, spec.train, layout=layout)
        TrainLoop(one, TrainFolder(str(output)), name=spec.name).run()
    return output


def a_job_runs_with(base: Path, training: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        photo(number).save(tmp_path / "photos" / f"box{number}.png")
    job: dict[str, Any] = {
        "name": "boxes", "catalog": "photos", "output": "output", "prompts": ["a box", "a box in the snow"],
        "model": {"base": str(base), "adapter": "training/adapter"},
        "generation": {"num_inference_steps": 2, "scheduler": "euler"}, "workers": {"batch_size": 2},
    }  # fmt: skip
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    done = dreamcache("run", str(tmp_path / "job.yaml"), "--json", seconds=SECONDS)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["total"], report["done"], report["failed"]) == (6, 6, 0)
    pipe = DreamCachePipeline.from_pretrained(base, adapter=training / "adapter")
    rows = jobs.outputs(str(tmp_path / "output")).to_pylist()
    assert len({row["item_id"] for row in rows}) == 6
    assert {Image.open(row["uri"]).size for row in rows} == {(SIDE, SIDE)}
    assert pipe.info.native_size == SIDE
