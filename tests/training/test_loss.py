"""The loss against diffusers' own U-Net and scheduler, and how references are read for it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch.utils.data import default_collate

from dreamcache.core.config.train import LossSettings, ReferenceSettings
from dreamcache.core.errors import ModelError
from dreamcache.training.export import job_settings
from tests.training.trainers import MakeTrainer, first_gradients


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


def test_a_batch_without_any_reference_has_zero_gradients(make: MakeTrainer) -> None:
    trainer = make(loss=LossSettings(drop_text=0, drop_image=1, drop_both=0))
    assert not any(value.any() for value in first_gradients(trainer).values())


def test_dropped_text_is_the_empty_prompt(make: MakeTrainer) -> None:
    trainer = make(loss=LossSettings(drop_text=0, drop_image=1, drop_both=0))
    batch = default_collate([trainer.items[n] for n in range(4)])
    keep, all_kept = torch.tensor([False, True, False, True]), torch.ones(4, dtype=torch.bool)
    empty = [text if kept else "" for text, kept in zip(batch["caption"], keep.tolist(), strict=True)]
    with torch.no_grad(), ExitStack() as hooks:
        dropped = trainer.loss({**batch, "keep_text": keep}, hooks)
        expected = trainer.loss({**batch, "caption": empty, "keep_text": all_kept}, hooks)
        full = trainer.loss({**batch, "keep_text": all_kept}, hooks)
    assert torch.allclose(dropped, expected, rtol=1e-5)
    changed = (dropped - full).abs() > 1e-3 * full.abs()
    assert changed.tolist() == (~keep).tolist()


def test_the_caption_as_encoding_text(make: MakeTrainer) -> None:
    """{caption} is each sample's own; the text that a job is advised to set has the class name in its place."""
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
