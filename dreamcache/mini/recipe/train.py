"""The loop shared by the stages unet and adapter: checkpoints, averages, learning rates, curves.

Knows clocks and checkpoints; what a step is, joint.py knows.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from dreamcache.mini.recipe import checkpoints
from dreamcache.mini.recipe.checkpoints import Average, Clock
from dreamcache.mini.recipe.joint import Rules, joint_loss, make_batch, reference_errors
from dreamcache.mini.recipe.latents import Latents, load_latents, load_text
from dreamcache.mini.recipe.modules import make_adapter, make_scheduler, make_unet
from dreamcache.mini.recipe.settings import Settings

_LEVELS = (300, 500, 700)
_COOL_FROM = 0.7  # share of the budget after which the learning rate falls to zero


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What differs between the stages."""

    name: str
    minutes: float
    rate: float
    train_base: bool
    rules: Rules


class Models(nn.Module):
    """Base and adapters as one module, so that averages and checkpoints hold both."""

    def __init__(self) -> None:
        super().__init__()
        self.unet: UNet2DConditionModel = make_unet()
        self.adapter = make_adapter(self.unet)
        # Plain attention trains faster than the fused kernel on a CPU, at these sizes.
        self.unet.set_attn_processor(AttnProcessor())


def train(settings: Settings, stage: Stage, start: dict[str, Tensor] | None = None) -> None:
    """Train until the budget is spent, from the stage's checkpoint if there is one, else from `start`."""
    path = settings.folder(stage.name) / "last.pt"
    device = checkpoints.prepare(settings, 2)
    models = Models()
    if start is not None:
        models.load_state_dict(start)
    models.to(device)
    models.unet.requires_grad_(stage.train_base)
    trained = [p for p in models.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=stage.rate, betas=(0.9, 0.99), weight_decay=0.01)
    average, step, spent = Average(models, 0.999), 0, 0.0
    state = checkpoints.read(path)
    if state is not None:
        models.load_state_dict(state["models"])
        average.values = {name: value.to(device) for name, value in state["average"].items()}
        optimizer.load_state_dict(state["optimizer"])
        average.step = step = state["step"]
        spent = state["spent"]
        torch.manual_seed(step)
    clock = Clock(stage.minutes, spent)
    print(f"{stage.name}: {sum(p.numel() for p in models.unet.parameters()) / 1e6:.2f} M base, "
          f"{sum(p.numel() for p in models.adapter.parameters()) / 1e6:.2f} M adapter, from step {step}", flush=True)  # fmt: skip
    _loop(settings, stage, models, optimizer, average, clock, step, device, path)


def load_average(settings: Settings) -> tuple[dict[str, Tensor], int, str]:
    """The newest averaged weights: of the adapter stage if it has begun, else of the unet stage."""
    for name in ("adapter", "unet"):
        state = checkpoints.read(settings.folder(name) / "last.pt")
        if state is not None:
            return state["average"], state["step"], name
    raise FileNotFoundError(f"{settings.work}: no unet/last.pt yet; run --stage unet first")


def _loop(
    settings: Settings,
    stage: Stage,
    models: Models,
    optimizer: torch.optim.Optimizer,
    average: Average,
    clock: Clock,
    step: int,
    device: torch.device,
    path: Path,
) -> None:
    scheduler, text = make_scheduler(), load_text(settings)
    latents, held_out = load_latents(settings, "train"), load_latents(settings, "held_out")
    designs = settings.unet_batch // latents.picture.shape[1]
    losses, since, first = [], clock.spent, step
    while clock.share < 1.0:
        checkpoints.set_rate(optimizer, stage.rate * _rate(clock.share, step))
        rows = torch.randint(len(latents.reference), (designs,))
        batch = make_batch(latents, text, rows, device)
        loss = joint_loss(models.unet, models.adapter, scheduler, batch, stage.rules)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(models.parameters(), 1.0)
        optimizer.step()
        average.update(models)
        losses.append(float(loss.detach()))
        step += 1
        if clock.due("log", 2.0):
            speed = (step - first) * settings.unet_batch / (clock.spent - since) / 60
            print(f"{stage.name}: {clock.spent:.1f} min step {step} images {step * settings.unet_batch} "
                  f"loss {sum(losses) / len(losses):.4f} {speed:.1f} img/s", flush=True)  # fmt: skip
            losses, since, first = [], clock.spent, step
        if clock.due("save", settings.checkpoint_minutes) or clock.share >= 1.0:
            _save(path, models, average, optimizer, step, clock)
        if clock.due("validate", 2 * settings.checkpoint_minutes) or clock.share >= 1.0:
            _validate(settings, stage.name, average, held_out, text, step, device)
            since, first = clock.spent, step


def _rate(share: float, step: int) -> float:
    """Warm-up, a constant, and a linear fall at the end: so the budget may still be changed on the way."""
    return min(1.0, (step + 1) / 200) * min(1.0, (1.02 - share) / (1 - _COOL_FROM))


def _save(
    path: Path, models: Models, average: Average, optimizer: torch.optim.Optimizer, step: int, clock: Clock
) -> None:
    state: dict[str, Any] = {"models": models.state_dict(), "average": average.values, "step": step}
    checkpoints.write(path, state | {"optimizer": optimizer.state_dict(), "spent": clock.spent})


def _validate(
    settings: Settings,
    name: str,
    average: Average,
    held_out: Latents,
    text: Tensor,
    step: int,
    device: torch.device,
) -> None:
    """Errors on held-out designs with the right, a wrong and no reference, appended to curve.jsonl."""
    models = Models().to(device).requires_grad_(False)
    models.load_state_dict(average.values)
    batch = make_batch(held_out, text, torch.arange(96), device)
    state = torch.get_rng_state()
    for level in _LEVELS:
        errors = reference_errors(models.unet, models.adapter, make_scheduler(), batch, level, shift=12)
        shown = " ".join(f"{key} {value:.4f}" for key, value in errors.items())
        print(f"{name}: step {step} t={level} object error: {shown}", flush=True)
        with (settings.folder(name) / "curve.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "level": level, **errors}) + "\n")
    torch.set_rng_state(state)
