"""What learns of an adapter's training on a tiny model, and what must not change."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

from dreamcache.core.config.train import LossSettings, OptimizerSettings, ReferenceSettings
from dreamcache.core.errors import DreamCacheError
from tests.training.trainers import MakeTrainer, first_gradients


class Repeated:
    """The same four items at every step, noise included: something that can be learned by heart."""

    def __init__(self, items: Any) -> None:
        self.kept = [items[position] for position in range(4)]
        self.bad: dict[int, Any] = {}

    def __getitem__(self, position: int) -> dict[str, Any]:
        return self.kept[position % 4]


@pytest.mark.parametrize("kind", ["epsilon", pytest.param("v_prediction", marks=pytest.mark.slow)])
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


def test_bfloat16_and_divergence(make: MakeTrainer) -> None:
    trainer = make(precision="bfloat16", steps=1)
    made = next(trainer.steps())
    assert trainer.mean_loss([made.loss]) < 10
    assert all(p.dtype == torch.float32 for p in trainer.adapter.parameters())
    with pytest.raises(DreamCacheError, match=r"lower optimizer\.learning_rate"):
        trainer.mean_loss([made.loss * float("nan")])
