"""Adapter training on a tiny model: what learns, what must not change, and that interruptions leave no trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from dreamcache import DreamCachePipeline
from dreamcache.artifacts import describe_adapter, describe_base
from dreamcache.errors import DreamCacheError, ModelError, SpecError
from dreamcache.model.adapter_io import save_adapter
from dreamcache.model.base import load_base
from dreamcache.train import Trainer
from dreamcache.train_config import (
    DataSettings,
    IntervalSettings,
    LossSettings,
    OptimizerSettings,
    ReferenceSettings,
    TrainSettings,
    TransformSettings,
)
from dreamcache.training.checkpoints import Checkpoint, TrainFolder
from dreamcache.training.export import job_settings
from dreamcache.training.loop import TrainLoop
from tests.tiny import save_base
from tests.train_samples import write_folder

KEEP_ALL = LossSettings(drop_text=0, drop_image=0, drop_both=0)
STEADY = OptimizerSettings(learning_rate=2e-3, warmup_steps=0, ema=0.5)

MakeTrainer = Callable[..., Trainer]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {kind: save_base(root / kind, prediction_type=kind) for kind in ("epsilon", "v_prediction")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_folder(tmp_path_factory.mktemp("data"), 4))


@pytest.fixture
def make(bases: dict[str, Path], data: str) -> MakeTrainer:
    """A trainer at 64 px, four samples a step, validated on the same four samples."""

    def made(kind: str = "epsilon", **changes: Any) -> Trainer:
        settings: dict[str, Any] = {
            "data": DataSettings(path=data, validation=data),
            "loss": KEEP_ALL,
            "optimizer": STEADY,
            "every": IntervalSettings(log=1, checkpoint=3, validate=100, levels=(200, 600)),
            "steps": 6,
            "global_batch": 4,
            "micro_batch": 4,
            "size": 64,
            "precision": "float32",
        }
        info = describe_base(str(bases[kind]))
        chosen = TrainSettings(**{**settings, **changes})
        return Trainer(load_base(info, dtype=getattr(torch, chosen.precision), device="cpu"), info, chosen)

    return made


def copied(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.checkpoint().tensors.items()}


def first_gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Gradients of the first step: AdamW's first moment after one step is a tenth of them (clipping is off)."""
    next(trainer.steps())
    return {name: value * 10 for name, value in copied(trainer).items() if name.startswith("exp_avg/")}


class Repeated:
    """The same four items at every step, noise included: something that can be learned by heart."""

    def __init__(self, items: Any) -> None:
        self.kept = [items[position] for position in range(4)]

    def __getitem__(self, position: int) -> dict[str, Any]:
        return self.kept[position % 4]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_four_samples_are_learned_and_the_base_stays(make: MakeTrainer, kind: str) -> None:
    optimizer = OptimizerSettings(learning_rate=2e-2, warmup_steps=0, ema=0, clip_norm=0)
    trainer = make(kind, steps=16, optimizer=optimizer, reference=ReferenceSettings(every=1))
    trainer.items = Repeated(trainer.items)  # type: ignore[assignment]
    parts = (trainer.base.unet, trainer.base.vae, trainer.base.text_encoder)
    before = [value.clone() for part in parts for value in part.state_dict().values()]
    start = trainer.validate()
    assert all(
        point["right"] == pytest.approx(point["none"], rel=1e-5) for point in start
    )  # the join is the identity
    losses = [float(made.loss) for made in trainer.steps()]
    assert losses[-1] < 0.85 * losses[0]
    for first, last in zip(start, trainer.validate(), strict=True):
        assert last["none"] == first["none"] and last["right"] != last["wrong"] != last["none"]
    after = [value for part in parts for value in part.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(parameter.grad is None for part in parts for parameter in part.parameters())


def test_every_adapter_parameter_gets_a_gradient_and_nothing_else(make: MakeTrainer) -> None:
    trainer = make()
    assert {id(p) for p in trainer.loss.parameters()} == {id(p) for p in trainer.adapter.parameters()}
    with ExitStack() as hooks:
        trainer.loss(default_collate([trainer.items[n] for n in range(4)]), hooks).mean().backward()
    gradients = {name: p.grad for name, p in trainer.adapter.named_parameters()}
    assert all(value is not None and value.isfinite().all() for value in gradients.values())
    # At the start the join reads nothing of the reference, so only the join itself moves.
    assert all(
        bool(value.any()) == ("join" in name) for name, value in gradients.items() if value is not None
    )


@pytest.mark.parametrize(
    "changes",
    [{"micro_batch": 1}, {"micro_batch": 3}, {"gradient_checkpointing": True}],
    ids=["one by one", "uneven", "gradient checkpointing"],
)
def test_the_same_gradients_another_way(make: MakeTrainer, changes: dict[str, Any]) -> None:
    """Accumulation and gradient checkpointing change memory, not what is learned."""
    options: dict[str, Any] = {
        "optimizer": OptimizerSettings(learning_rate=1e-3, warmup_steps=0, clip_norm=0),
        "loss": LossSettings(drop_text=0.2, drop_image=0.2, drop_both=0.2, foreground=2.0, min_snr_gamma=5),
        "size": 128,  # at 64 the middle block has one pixel, whose group norm blows rounding up
    }
    whole, parts = first_gradients(make(**options)), first_gradients(make(**options, **changes))
    for name, value in whole.items():
        assert (parts[name] - value).norm() <= 1e-3 * value.norm(), name


@pytest.mark.parametrize(
    "reference",
    [
        ReferenceSettings(integration="spatial_sum", features="middle", text="{caption}"),
        ReferenceSettings(integration="textual_sum", parts=("encoder", "middle")),
        ReferenceSettings(integration="decoupled", parts=("encoder", "decoder"), every=3),
    ],
    ids=lambda reference: reference.integration,
)
def test_variants_get_gradients_everywhere(make: MakeTrainer, reference: ReferenceSettings) -> None:
    """Away from its start every parameter of a variant learns, and gradient checkpointing changes nothing of it."""
    trainer = make(reference=reference, size=128, gradient_checkpointing=True)
    with torch.no_grad():
        for parameter in trainer.adapter.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    batch = default_collate([trainer.items[n] for n in range(2)])

    def gradients() -> dict[str, torch.Tensor]:
        trainer.adapter.zero_grad()
        with ExitStack() as hooks:
            trainer.loss(batch, hooks).mean().backward()
        return {name: p.grad.clone() for name, p in trainer.adapter.named_parameters() if p.grad is not None}

    checkpointed = gradients()
    trainer.base.unet.disable_gradient_checkpointing()
    assert len(checkpointed) == len(list(trainer.adapter.parameters()))
    for name, value in gradients().items():
        assert bool(value.any()), name
        assert (checkpointed[name] - value).norm() <= 1e-3 * value.norm(), name
    assert all(p.grad is None for p in trainer.base.unet.parameters())


def test_the_caption_as_encoding_text(make: MakeTrainer) -> None:
    """{caption} is each sample's own; what a job is told to set has the class name in its place."""
    own, fixed = (
        make(reference=ReferenceSettings(text=text)) for text in ("see {caption}", "see a box number 0")
    )
    batch = default_collate([own.validation[n] for n in range(2)])
    assert batch["caption"] == ["a box number 0", "a box number 1"]
    ours, theirs = (trainer.loss.read(batch, torch.arange(2)) for trainer in (own, fixed))
    same = [
        torch.allclose(ours[place].keys[n], theirs[place].keys[n], atol=1e-5)
        for place in ours
        for n in (0, 1)
    ]
    assert all(same[::2]) and not any(same[1::2])
    assert job_settings(own.settings.reference)["text"] == "see a {class_name}"


def test_what_is_asked_for_must_be_what_is_gone_on_from(make: MakeTrainer, tmp_path: Path) -> None:
    trainer = make()
    save_adapter(trainer.adapter, str(tmp_path), base=trainer.info, step=5)
    start = describe_adapter(str(tmp_path), trainer.info)
    for changes in ({"integration": "spatial_sum"}, {"features": "middle"}, {"every": 1}):
        settings = replace(trainer.settings, reference=ReferenceSettings(**changes))
        with pytest.raises(SpecError, match=r"set reference\.(integration|features|places) to the adapter's"):
            Trainer(trainer.base, trainer.info, settings, start=start)
    with pytest.raises(ValueError, match="unet must be frozen"):
        ReferenceSettings(unet="trained")


def test_checkpoints_of_an_older_release_are_gone_on_from(tmp_path: Path) -> None:
    """A setting that did not exist then counts as its default."""
    folder, course = TrainFolder(str(tmp_path)), TrainSettings(data=DataSettings(path="")).course()
    old = {name: value for name, value in course.items() if name != "reference.integration"}
    folder.save(Checkpoint(step=1, tensors={"a": torch.zeros(1)}), old, keep=1)
    assert folder.newest(course, course) is not None
    with pytest.raises(ModelError, match=r"reference\.integration was 'spatial_concat', is 'decoupled'"):
        folder.newest({**course, "reference.integration": "decoupled"}, course)


def test_a_batch_without_any_reference_has_zero_gradients(make: MakeTrainer) -> None:
    trainer = make(loss=LossSettings(drop_text=0, drop_image=1, drop_both=0))
    assert not any(value.any() for value in first_gradients(trainer).values())


def test_loss_is_the_base_models_own_without_a_reference(make: MakeTrainer) -> None:
    """Against diffusers' own U-Net and scheduler; foreground and min-SNR weights by their formulas."""
    for kind in ("epsilon", "v_prediction"):
        drop = {"drop_text": 0.0, "drop_image": 1.0, "drop_both": 0.0}
        plain, weighted = (
            make(kind, loss=LossSettings(**drop)),
            make(kind, loss=LossSettings(**drop, foreground=3, min_snr_gamma=5)),
        )
        batch = default_collate([plain.items[n] for n in range(4)])
        base, scheduler = plain.base, plain.loss.scheduler
        with torch.no_grad():
            latents = base.vae.encode(batch["pixels"]).latent_dist.mode() * base.vae.config.scaling_factor
            t = (batch["share"] * 1000).long()
            text, _ = base.encode_prompt(batch["caption"], "cpu", 1, False)
            made = base.unet(scheduler.add_noise(latents, batch["noise"], t), t, text).sample
        target = batch["noise"] if kind == "epsilon" else scheduler.get_velocity(latents, batch["noise"], t)
        error = (made - target).square()
        snr = scheduler.alphas_cumprod[t] / (1 - scheduler.alphas_cumprod[t])
        level = snr.clamp(max=5) / (snr if kind == "epsilon" else snr + 1)
        weight = (1 + 3 * batch["mask"]).expand(-1, 4, -1, -1)
        with ExitStack() as hooks:
            assert torch.allclose(plain.loss(batch, hooks), error.mean((1, 2, 3)), rtol=1e-4)
            expected = (error * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)) * level
            assert torch.allclose(weighted.loss(batch, hooks), expected, rtol=1e-4)


def test_going_on_equals_never_having_stopped(make: MakeTrainer, tmp_path: Path) -> None:
    options: dict[str, Any] = {"loss": LossSettings(drop_text=0.2, drop_image=0.2, drop_both=0.1)}
    whole, halves = TrainFolder(str(tmp_path / "whole")), TrainFolder(str(tmp_path / "halves"))
    straight = make(**options)
    TrainLoop(straight, whole, name="t").run()
    stopped = TrainLoop(make(**options), halves, name="t")
    steps = stopped.trainer.steps()
    for made in (next(steps) for _ in range(3)):
        stopped._log(made, [made.loss])
    stopped._save()
    next(steps)  # a step that no checkpoint saw
    resumed = TrainLoop(make(**options), halves, name="t")
    assert resumed.trainer.step == 3
    resumed.run()
    for name, value in copied(straight).items():
        assert torch.equal(value, resumed.trainer.checkpoint().tensors[name]), name
    curves = [
        json.loads((tmp_path / part / "curves.json").read_text())["train"] for part in ("whole", "halves")
    ]
    assert curves[0] == curves[1] and [point["step"] for point in curves[0]] == [1, 2, 3, 4, 5, 6]
    options["optimizer"] = OptimizerSettings(learning_rate=0.5, warmup_steps=0, ema=0.5)
    with pytest.raises(ModelError, match=r"optimizer\.learning_rate was 0\.002, is 0\.5") as other:
        TrainLoop(make(**options), halves, name="t")
    assert other.value.code == "other_training"


def test_checkpoints_on_s3(bucket: str) -> None:
    folder = TrainFolder(f"{bucket}/training")
    assert folder.newest({}) is None
    for step in (1, 2, 3):
        folder.save(Checkpoint(step=step, tensors={"a": torch.full((3,), step)}), {"seed": 0}, keep=2)
    found = folder.newest({"seed": 0})
    assert found is not None and found.step == 3 and found.tensors["a"].tolist() == [3, 3, 3]
    names = sorted(info.uri.rpartition("/")[2] for info in folder.store.list(folder.at("checkpoints")))
    assert names == ["latest.json", "step-0000002.safetensors", "step-0000003.safetensors"]
    folder.store.write(folder.at("checkpoints", names[-1]), b"damaged")
    with pytest.raises(ModelError, match="is damaged"):
        folder.newest({"seed": 0})


def test_the_exported_adapter_is_the_average_and_draws(make: MakeTrainer, tmp_path: Path) -> None:
    every = IntervalSettings(
        log=2, checkpoint=2, validate=2, samples=2, sample_count=2, sample_steps=2, levels=(500,)
    )
    trainer = make(steps=2, every=every, precision="float32")
    place = TrainLoop(trainer, TrainFolder(str(tmp_path)), name="boxes").run()
    assert place == str(tmp_path / "adapter")
    pipe = DreamCachePipeline.from_pretrained(trainer.info.location, adapter=place)
    assert pipe.adapter is not None
    for ours, theirs in zip(trainer.average.adapter.parameters(), pipe.adapter.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)
    subject = pipe.encode_reference(Image.new("RGB", (64, 64), (200, 20, 20)))
    options: dict[str, Any] = {"num_inference_steps": 2, "height": 64, "width": 64}
    assert len(pipe(["a", "b"], [subject, None], **options).images) == 2
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "base_model_relation: adapter" in card and "| 500 |" in card and "2 steps of 4 samples" in card
    assert str(tmp_path) not in card and trainer.info.location not in card
    assert Image.open(tmp_path / "samples" / "step-0000002.png").size == (3 * 64, 2 * 64)
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["step"], status["kind"]) == ("finished", 2, "training")
    again = make(steps=2, every=every)
    assert describe_adapter(place, again.info).step == 2


def test_places_are_configuration(make: MakeTrainer) -> None:
    def places(**changes: Any) -> tuple[str, ...]:
        return make(reference=ReferenceSettings(**changes)).adapter.places

    assert len(places()) == 5 and len(places(every=1)) == 10
    assert places(parts=("middle",)) == ("mid_block.attentions.0",)
    assert places(places=("up_blocks.2.attentions.0",), timestep=300, text="a photo") == (
        "up_blocks.2.attentions.0",
    )
    with pytest.raises(ModelError, match="not a spatial transformer"):
        places(places=("up_blocks.9",))
    assert places(parts=("encoder",)) == (
        "down_blocks.0.attentions.1",
        "down_blocks.1.attentions.1",
        "down_blocks.2.attentions.1",
    )
    assert len(places(parts=("encoder", "middle", "decoder"), every=1)) == 16


def test_bfloat16_and_divergence(make: MakeTrainer) -> None:
    trainer = make(precision="bfloat16", steps=1)
    made = next(trainer.steps())
    assert trainer.mean_loss([made.loss]) < 10
    assert all(p.dtype == torch.float32 for p in trainer.adapter.parameters())
    with pytest.raises(DreamCacheError, match=r"lower optimizer\.learning_rate"):
        trainer.mean_loss([made.loss * float("nan")])


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="drop_text"):
        LossSettings(drop_text=0.6, drop_image=0.3, drop_both=0.2)
    with pytest.raises(ValueError, match="erase_area"):
        TransformSettings(erase_area=(0.3, 0.2))
    from jobs.train.spec import parse_train_spec

    values: dict[str, Any] = {"name": "a", "output": "o", "train": {"data": {"path": "d"}, "global_batch": 3}}
    assert parse_train_spec(values).train.optimizer.learning_rate == 1e-5
    with pytest.raises(SpecError, match=r"multiple of workers\.count"):
        parse_train_spec({**values, "workers": {"count": 2}})
    values["train"]["optimizer"] = {"learning_rat": 1}
    with pytest.raises(SpecError, match=r"unknown key 'train\.optimizer\.learning_rat'.*'learning_rate'"):
        parse_train_spec(values)
