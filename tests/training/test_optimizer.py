"""Learning rates, the moving average and min-SNR: exact numbers, and where diffusers' own pieces differ."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel, compute_snr
from torch import nn

from dreamcache.core.config.train import (
    IntervalSettings,
    LossSettings,
    OptimizerSettings,
    TransformSettings,
)
from dreamcache.evaluation.bootstrap import BootstrapSettings
from dreamcache.training.optimizer import EMA, learning_rate
from tests.training.trainers import MakeTrainer

STEPS, WARMUP = 10, 4


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        (
            OptimizerSettings,
            "clip_norm",
            -1.0,
        ),  # "no clipping" elsewhere; torch would turn every gradient round
        (OptimizerSettings, "betas", (0.9, 1.0)),
        (OptimizerSettings, "weight_decay", -0.01),
        (IntervalSettings, "checkpoint", -1),
        (IntervalSettings, "validate", -1),
        (IntervalSettings, "samples", -1),
        (TransformSettings, "jitter", 3.0),
        (TransformSettings, "jitter_hue", 0.6),
        (BootstrapSettings, "seed", -1),
        (BootstrapSettings, "resamples", 10**9),
    ],
)
def test_values_that_would_do_harm_are_refused(group: type, key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        group(**{key: value})


def rates(schedule: str, *, warmup: int = WARMUP) -> list[float]:
    settings = OptimizerSettings(learning_rate=1.0, warmup_steps=warmup, schedule=schedule)  # type: ignore[arg-type]
    return [learning_rate(settings, step, STEPS) for step in range(STEPS)]


def test_exact_learning_rates() -> None:
    """The cosine begins after the warm-up: it does not count the warm-up's steps."""
    cosine = [1.0, 0.933013, 0.75, 0.5, 0.25, 0.066987]
    assert rates("cosine") == pytest.approx([0.25, 0.5, 0.75, 1.0, *cosine], abs=1e-6)
    assert rates("constant") == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert rates("cosine", warmup=0)[0] == 1.0 and rates("cosine", warmup=0)[5] == pytest.approx(0.5)


def test_the_schedule_of_diffusers_warms_up_from_zero() -> None:
    """Equal after the warm-up, one step behind within it; so its first step trains nothing."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=WARMUP, num_training_steps=STEPS)
    theirs = []
    for _ in range(STEPS):
        theirs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    ours = rates("cosine")
    assert theirs[WARMUP:] == pytest.approx(ours[WARMUP:])
    assert theirs[:WARMUP] == [0.0, *ours[: WARMUP - 1]]


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.999])
def test_the_average_is_that_of_diffusers_but_for_rounding(decay: float) -> None:
    torch.manual_seed(0)
    module = nn.Linear(4, 4)
    average, model = EMA(module, decay), EMAModel(module.parameters(), decay=decay, update_after_step=-1)
    for step in range(1, 8):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += torch.randn(parameter.shape)
        average.update(module, step)
        model.step(module.parameters())
    for ours, theirs in zip(average.module.parameters(), model.shadow_params, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    if not decay:  # "the last step's weights" must be exactly these
        pairs = zip(average.module.parameters(), module.parameters(), strict=True)
        assert all(torch.equal(ours, last) for ours, last in pairs)


def test_the_average_shares_what_is_not_trained() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].requires_grad_(False)
    average = EMA(module, 0.9)
    assert list(average.tensors()) == ["1.weight", "1.bias"]
    assert average.module[0].weight is module[0].weight and average.module[1].weight is not module[1].weight
    assert not average.module.training and not any(p.requires_grad for p in average.module[1].parameters())
    before = copy.deepcopy(average.tensors())
    with torch.no_grad():
        module[1].weight += 1
    average.update(module, 1)  # the first decay is 2 / 11
    assert torch.allclose(average.tensors()["1.weight"], before["1.weight"] + 9 / 11)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_weights_against_the_snr_of_diffusers(make: MakeTrainer, kind: str) -> None:
    trainer = make(kind, loss=LossSettings(min_snr_gamma=5))
    steps = torch.arange(0, 1000, 7)
    snr = compute_snr(DDPMScheduler.from_config(trainer.base.scheduler.config), steps)
    expected = snr.clamp(max=5) / (snr if kind == "epsilon" else snr + 1)
    assert torch.allclose(trainer.loss._level_weight(steps), expected, rtol=1e-4)
