"""The loop of the stage unet: checkpoints, averages, learning rates, curves.

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

from recipes.mini.make import checkpoints
from recipes.mini.make.checkpoints import Average, Clock
from recipes.mini.make.joint import Rules, joint_loss, make_batch, reference_errors
from recipes.mini.make.latents import Latents, load_latents, load_text
from recipes.mini.make.modules import make_adapter, make_scheduler, make_unet
from recipes.mini.make.optimizer import MatrixAdam
from recipes.mini.make.parallel import Team, launch
from recipes.mini.make.settings import Settings

_LEVELS = (300, 500, 700)
_COOL_FROM = 0.7  # share of the budget after which the learning rate falls to zero


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What is asked of the loop."""

    name: str
    minutes: float
    rate: float
    rules: Rules


class Models(nn.Module):
    """Base and adapters as one module, so that averages and checkpoints hold both."""

    def __init__(self) -> None:
        super().__init__()
        self.unet: UNet2DConditionModel = make_unet()
        self.adapter = make_adapter(self.unet)
        # Plain attention trains faster than the fused kernel on a CPU, at these sizes.
        self.unet.set_attn_processor(AttnProcessor())


def train(settings: Settings, stage: Stage) -> None:
    """Train until the budget is spent, from the stage's checkpoint if there is one."""
    launch(settings, _train, stage)


def _train(team: Team, settings: Settings, stage: Stage) -> None:
    path = settings.folder(stage.name) / "last.pt"
    device = checkpoints.prepare(settings, 2)
    torch.set_num_threads(max(1, settings.threads // team.size))
    models = Models().to(device)
    optimizer = MatrixAdam(list(models.parameters()), lr=stage.rate, team=team)
    run = Run(models=models, average=Average(models, 0.999), device=device, team=team, optimizer=optimizer)
    spent = run.resume(checkpoints.read(path))
    torch.manual_seed(run.step * 64 + team.rank)
    if team.leads:
        sizes = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (models.unet, models.adapter)]
        print(
            f"{stage.name}: {sizes[0]:.2f} M base, {sizes[1]:.2f} M adapter, from step {run.step}", flush=True
        )
    _loop(settings, stage, run, Clock(stage.minutes, spent), path)


@dataclass(kw_only=True, slots=True)
class Run:
    """What changes while training, in one process."""

    models: Models
    average: Average
    optimizer: torch.optim.Optimizer
    device: torch.device
    team: Team
    step: int = 0

    def resume(self, state: dict[str, Any] | None) -> float:
        """Go on from a checkpoint, if there is one; returns the minutes spent so far."""
        if state is None:
            return 0.0
        self.models.load_state_dict(state["models"])
        self.average.values = {name: value.to(self.device) for name, value in state["average"].items()}
        if "optimizer" in state:  # not where the weights of the package go on
            self.optimizer.load_state_dict(state["optimizer"])
        self.average.step = self.step = state["step"]
        return float(state["spent"])

    def save(self, path: Path, clock: Clock) -> None:
        state: dict[str, Any] = {"models": self.models.state_dict(), "average": self.average.values}
        state |= {"step": self.step, "optimizer": self.optimizer.state_dict(), "spent": clock.spent}
        checkpoints.write(path, state)


def load_average(settings: Settings) -> tuple[dict[str, Tensor], int, str]:
    """The newest averaged weights of base and adapters, their step, and the stage's name."""
    state = checkpoints.read(settings.folder("unet") / "last.pt")
    if state is None:
        raise FileNotFoundError(f"{settings.work}: no unet/last.pt yet; run --stage unet first")
    return state["average"], state["step"], "unet"


def _loop(settings: Settings, stage: Stage, run: Run, clock: Clock, path: Path) -> None:
    scheduler, text = make_scheduler(), load_text(settings)
    latents, held_out = load_latents(settings, "train"), load_latents(settings, "held_out")
    designs = settings.unet_batch // latents.picture.shape[1] // run.team.size
    trained = list(run.models.parameters())
    losses, mark, first, share = [], clock.spent, run.step, clock.share
    while share < 1.0:
        checkpoints.set_rate(run.optimizer, stage.rate * _rate(share, run.step))
        rows = torch.randint(len(latents.reference), (designs,))
        batch = make_batch(latents, text, rows, run.device)
        loss = joint_loss(run.models.unet, run.models.adapter, scheduler, batch, stage.rules)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share, mean = run.team.average(trained, clock.share, float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        run.optimizer.step()
        run.step += 1
        losses.append(mean)
        if not run.team.leads:
            continue
        run.average.update(run.models)
        if clock.due("log", 2.0):
            speed = (run.step - first) * settings.unet_batch / (clock.spent - mark) / 60
            print(f"{stage.name}: {clock.spent:.1f} min step {run.step} images {run.step * settings.unet_batch} "
                  f"loss {sum(losses) / len(losses):.4f} {speed:.1f} img/s", flush=True)  # fmt: skip
            losses, mark, first = [], clock.spent, run.step
        if clock.due("save", settings.checkpoint_minutes) or share >= 1.0:
            run.save(path, clock)
        if clock.due("validate", 3 * settings.checkpoint_minutes) or share >= 1.0:
            _validate(settings, stage.name, run, held_out, text)


def _rate(share: float, step: int) -> float:
    """Warm-up, a constant, and a linear fall at the end: so the budget may still be changed on the way."""
    return min(1.0, (step + 1) / 60) * min(1.0, (1.02 - share) / (1 - _COOL_FROM))


def _validate(settings: Settings, name: str, run: Run, held_out: Latents, text: Tensor) -> None:
    """Errors on held-out designs with the right, a wrong and no reference, appended to curve.jsonl."""
    models = Models().to(run.device).requires_grad_(False)
    models.load_state_dict(run.average.values)
    batch = make_batch(held_out, text, torch.arange(48), run.device)
    state = torch.get_rng_state()
    for level in _LEVELS:
        errors = reference_errors(models.unet, models.adapter, make_scheduler(), batch, level, shift=12)
        shown = " ".join(f"{key} {value:.4f}" for key, value in errors.items())
        print(f"{name}: step {run.step} t={level} object error: {shown}", flush=True)
        with (settings.folder(name) / "curve.jsonl").open("a") as file:
            file.write(json.dumps({"step": run.step, "level": level, **errors}) + "\n")
    torch.set_rng_state(state)
