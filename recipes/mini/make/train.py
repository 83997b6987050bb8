"""The loop of the stage unet: checkpoints, averages, learning rates, curves.

Knows clocks and checkpoints; what a step computes, joint.py knows.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from recipes.mini.make import checkpoints
from recipes.mini.make.checkpoints import EMA, Clock
from recipes.mini.make.joint import Rules, batch_of, joint_loss, reference_errors
from recipes.mini.make.latents import LatentStore, load_latents, load_text
from recipes.mini.make.modules import new_adapter, new_scheduler, new_unet
from recipes.mini.make.optimizer import MatrixAdam
from recipes.mini.make.parallel import Team, launch
from recipes.mini.make.settings import Settings

_LEVELS = (300, 500, 700)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A share of the stage: which shards it sees, and up to which share of the budget it lasts."""

    parts: tuple[str, ...]
    until: float


class Models(nn.Module):
    """Base and adapters as one module, so that averages and checkpoints hold both."""

    def __init__(self, latent_channels: int, device: torch.device = torch.device("cpu")) -> None:
        super().__init__()
        self.unet: UNet2DConditionModel = new_unet(latent_channels)
        self.adapter = new_adapter(self.unet)
        if device.type == "cpu":
            # Plain attention trains faster than the fused kernel on a CPU, at these sizes.
            self.unet.set_attn_processor(AttnProcessor())
        self.to(device)


def train(settings: Settings, phase: Phase) -> None:
    """Train until the phase ends, from the stage's checkpoint if there is one."""
    launch(settings, _train, phase)


def progress(settings: Settings) -> float:
    """The share of the budget that the stage has spent."""
    state = checkpoints.read(_path(settings))
    return 0.0 if state is None else min(1.0, state["spent"] / settings.unet_minutes)


def load_average(settings: Settings) -> tuple[dict[str, Tensor], int]:
    """The newest averaged weights of base and adapters, and their step. Raises FileNotFoundError before the stage."""
    state = checkpoints.read(_path(settings))
    if state is None:
        raise FileNotFoundError(f"{_path(settings)}: no checkpoint yet; run --stage unet first")
    return state["average"], state["step"]


@dataclass(kw_only=True, slots=True)
class Run:
    """What changes while training, in one process."""

    models: Models
    average: EMA[Models]
    optimizer: torch.optim.Optimizer
    device: torch.device
    team: Team
    step: int = 0

    def resume(self, state: dict[str, Any] | None) -> float:
        """Continue from a checkpoint, if there is one; returns the minutes spent so far."""
        if state is None:
            return 0.0
        self.models.load_state_dict(state["models"])
        self.average.module.load_state_dict(state["average"])
        if "optimizer" in state:  # `warm` begins from shipped weights, which have none
            self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        return float(state["spent"])

    def save(self, path: Path, clock: Clock) -> None:
        state: dict[str, Any] = {
            "models": self.models.state_dict(),
            "average": self.average.module.state_dict(),
        }
        state |= {"step": self.step, "optimizer": self.optimizer.state_dict(), "spent": clock.spent}
        checkpoints.write(path, state)


def _train(team: Team, settings: Settings, phase: Phase) -> None:
    device = checkpoints.prepare(settings, 2)
    torch.set_num_threads(max(1, settings.threads // team.size))
    models = Models(settings.latent_channels, device)
    optimizer = MatrixAdam(list(models.parameters()), lr=settings.unet_lr, team=team)
    run = Run(models=models, average=EMA(models, 0.999), device=device, team=team, optimizer=optimizer)
    spent = run.resume(checkpoints.read(_path(settings)))
    torch.manual_seed(run.step * 64 + team.rank)
    if team.leads:
        sizes = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (models.unet, models.adapter)]
        print(f"unet: {sizes[0]:.2f} M base, {sizes[1]:.2f} M adapter, from step {run.step}", flush=True)
    _loop(settings, phase, run, Clock(settings.unet_minutes, spent, device=device))


def _loop(settings: Settings, phase: Phase, run: Run, clock: Clock) -> None:
    scheduler, text = new_scheduler(), load_text(settings).to(run.device)
    rules = Rules(drop_image=settings.drop_image, object_weight=settings.unet_object_weight)
    latents = load_latents(settings, phase.parts, run.device)
    held_out = load_latents(settings, ("held_out",), run.device)
    designs = max(1, settings.unet_batch // latents.scenes_per_design // run.team.size)
    images = designs * latents.scenes_per_design * run.team.size
    trained = list(run.models.parameters())
    losses, mark, first, share = [], clock.spent, run.step, clock.share
    while share < phase.until:
        checkpoints.set_rate(run.optimizer, settings.unet_lr * checkpoints.trapezoid(share, run.step))
        batch = batch_of(latents, text, torch.randint(len(latents), (designs,)))
        loss = joint_loss(run.models.unet, run.models.adapter, scheduler, batch, rules)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share, mean = run.team.average(trained, clock.share, loss.detach())
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        run.optimizer.step()
        run.step += 1
        losses.append(mean)
        if not run.team.leads:
            continue
        run.average.update(run.models, run.step)
        if clock.due("log", settings.checkpoint_minutes) or share >= phase.until:
            speed = (run.step - first) * images / max(1e-6, clock.spent - mark) / 60
            print(f"unet: {clock.spent:.1f} of {clock.budget:.0f} min step {run.step} images {run.step * images} "
                  f"loss {float(sum(losses)) / len(losses):.4f} {speed:.1f} img/s", flush=True)  # fmt: skip
            losses, mark, first = [], clock.spent, run.step
            run.save(_path(settings), clock)
        if clock.due("validate", settings.validate_minutes) or share >= phase.until:
            _validate(settings, run, held_out, text)


def _validate(settings: Settings, run: Run, held_out: LatentStore, text: Tensor) -> None:
    """Errors on held-out designs with the right, a wrong and no reference, appended to curve.jsonl."""
    models, state = run.average.module, torch.get_rng_state()
    batch = batch_of(held_out, text, torch.arange(min(settings.validated, len(held_out))))
    for level in _LEVELS:
        errors = reference_errors(models.unet, models.adapter, new_scheduler(), batch, level, shift=12)
        shown = " ".join(f"{key} {value:.4f}" for key, value in errors.items())
        print(f"unet: step {run.step} t={level} object error: {shown}", flush=True)
        with (settings.folder("unet") / "curve.jsonl").open("a") as file:
            file.write(json.dumps({"step": run.step, "level": level, **errors}) + "\n")
    torch.set_rng_state(state)


def _path(settings: Settings) -> Path:
    return settings.folder("unet") / "last.pt"
