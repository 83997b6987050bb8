"""Stage vae: the autoencoder on crops around objects. What it shares with `refine` is here too.

The object and its rim weigh more than the background: identity is what the adapters must carry. Averaged weights are
measured while training; when they pass the gate, the learning rate falls and the stage ends.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from diffusers import AutoencoderKL
from torch import Tensor

from recipes.mini.make import checkpoints
from recipes.mini.make.checkpoints import EMA, Clock
from recipes.mini.make.compute import autocast, device_of
from recipes.mini.make.modules import new_vae
from recipes.mini.make.optimizer import MatrixAdam
from recipes.mini.make.pictures import Pictures
from recipes.mini.make.settings import Settings

_KL = 6e-4
_DECAY = 0.998
_MEASURED = 128  # held-out pictures
_RIM = 5  # pixels across which a mask grows, both sides together, plus one


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One training of the autoencoder."""

    name: str
    minutes: float
    rate: float
    crops: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """PSNR in dB on held-out pictures and on their objects; means over pictures."""

    psnr: float
    object_psnr: float

    def passes(self, settings: Settings) -> bool:
        return self.psnr >= settings.gate_psnr and self.object_psnr >= settings.gate_object_psnr

    def __str__(self) -> str:
        return f"psnr {self.psnr:.2f} object {self.object_psnr:.2f}"


def run(settings: Settings) -> None:
    """Train until the gate or the budget is reached; leaves vae/last.pt while training and vae/vae.pt when done."""
    phase = Phase(name="vae", minutes=settings.vae_minutes, rate=settings.vae_lr, crops=True)
    fit(settings, phase, new_vae(settings.latent_channels))


def fit(settings: Settings, phase: Phase, vae: AutoencoderKL) -> None:
    """The loop of `vae` and `refine`. Resumes; returns at once where the phase is done."""
    folder = settings.folder("vae")
    if (folder / f"{phase.name}.pt").exists():
        return
    device = checkpoints.prepare(settings)
    vae.to(device, memory_format=torch.channels_last).train().requires_grad_(True)
    optimizer = MatrixAdam(vae.parameters(), lr=phase.rate, weight_decay=1e-3)
    average, step, path = EMA(vae, _DECAY), 0, folder / f"{phase.name}-last.pt"
    clock = Clock(phase.minutes, device=device)
    if state := checkpoints.read(path):
        vae.load_state_dict(state["vae"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        clock = Clock(min(phase.minutes, state["budget"]), state["spent"], device=device)
    pictures, held_out = Pictures(settings, "train", device), measured(settings)
    torch.manual_seed(step)
    quality: Quality | None = None
    while (share := clock.share) < 1.0:
        checkpoints.set_rate(optimizer, phase.rate * checkpoints.trapezoid(share, step))
        batch, masks = pictures.sample(settings.vae_batch, crops=phase.crops)
        loss = take_step(vae, optimizer, batch, masks, settings.vae_object_weight)
        step += 1
        average.update(vae, step)
        if clock.due("measure", 4 * settings.checkpoint_minutes):
            quality = measure(average.module, *held_out)
            if quality.passes(settings):
                clock.cool_down()
        if clock.due("save", settings.checkpoint_minutes):
            spent = f"{clock.spent:.1f} of {clock.budget:.1f} min"
            print(
                f"{phase.name}: {spent} step {step} loss {float(loss):.4f} {quality or 'not measured yet'}",
                flush=True,
            )
            state = {"vae": vae.state_dict(), "average": average.module.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "step": step}
            checkpoints.write(path, state | {"spent": clock.spent, "budget": clock.budget})
    fold_statistics(average.module, pictures.sample(1024, crops=False)[0])
    quality = measure(average.module, *held_out)
    print(f"{phase.name}: done, step {step}, {quality}, gate {'passed' if quality.passes(settings) else 'not reached'}",
          flush=True)  # fmt: skip
    checkpoints.write(folder / f"{phase.name}.pt", {"vae": average.module.state_dict()})
    path.unlink(missing_ok=True)


def load_vae(settings: Settings) -> AutoencoderKL:
    """The finished autoencoder, frozen: refined where that is done. Raises FileNotFoundError before `vae` is done."""
    for name in ("refine", "vae"):
        if state := checkpoints.read(settings.folder("vae") / f"{name}.pt"):
            vae = new_vae(settings.latent_channels)
            vae.load_state_dict(state["vae"])
            return vae.to(device_of(settings.device)).eval().requires_grad_(False)
    raise FileNotFoundError(f"{settings.work / 'vae' / 'vae.pt'}: run --stage vae first")


def take_step(
    vae: AutoencoderKL, optimizer: torch.optim.Optimizer, target: Tensor, mask: Tensor, object_weight: float
) -> Tensor:
    """One step on pictures [n, 3, h, w] in -1..1 with masks [n, 1, h, w] in 0..1; returns the weighted error."""
    weight = 1 + (object_weight - 1) * functional.max_pool2d(mask, _RIM, stride=1, padding=_RIM // 2)
    weight = weight / weight.mean()
    with autocast(target.device):
        posterior = vae.encode(target).latent_dist
        mean, spread = posterior.mean.float(), posterior.logvar.float().clamp(-20, 4)
        latent = mean + torch.randn_like(mean) * torch.exp(0.5 * spread)
        decoded = vae.decode(latent).sample.float()
    gap = decoded - target
    # Slopes keep outlines and logos crisp.
    slopes = (gap.diff(dim=2).abs() * weight[:, :, 1:]).mean() + (
        gap.diff(dim=3).abs() * weight[..., 1:]
    ).mean()
    error = (gap.square() * weight).mean() + 0.5 * (gap.abs() * weight).mean() + 0.25 * slopes
    kl = 0.5 * (mean.square() + spread.exp() - 1 - spread).mean()
    optimizer.zero_grad(set_to_none=True)
    (error + _KL * kl).backward()
    torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
    optimizer.step()
    return error.detach()


@torch.no_grad()
def fold_statistics(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Give each latent channel mean 0 and deviation 1 by changing the quant convolutions only."""
    means = torch.cat([vae.encode(part).latent_dist.mean for part in pictures.split(128)])
    mean, deviation = means.mean(dim=(0, 2, 3)), means.std(dim=(0, 2, 3))
    into, back = vae.quant_conv, vae.post_quant_conv
    channels = len(mean)
    back.bias += (back.weight[:, :, 0, 0] * mean).sum(dim=1)
    back.weight *= deviation.view(1, -1, 1, 1)
    into.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.bias[channels:] -= 2 * deviation.log()


def measured(settings: Settings) -> tuple[Tensor, Tensor]:
    """Held-out pictures [n, 3, 64, 64] and masks [n, 1, 64, 64], always the same."""
    pictures = Pictures(settings, "held_out", device_of(settings.device))
    count = len(pictures)
    return pictures.batch(torch.linspace(0, count - 1, min(_MEASURED, count)).long())


@torch.no_grad()
def measure(vae: AutoencoderKL, pictures: Tensor, masks: Tensor) -> Quality:
    """PSNR of pictures that pass through the autoencoder, whole and on the object."""
    gaps = []
    for part in pictures.split(32):
        with autocast(part.device):
            decoded = vae.decode(vae.encode(part).latent_dist.mode()).sample.float()
        gaps.append(((decoded.clamp(-1, 1) - part) / 2).square())
    gap = torch.cat(gaps)
    whole = gap.mean(dim=(1, 2, 3))
    inside = (gap * masks).sum(dim=(1, 2, 3)) / (3 * masks.sum(dim=(1, 2, 3)).clamp(min=1e-6))
    return Quality(psnr=_decibels(whole), object_psnr=_decibels(inside))


def _decibels(errors: Tensor) -> float:
    return float((-10 * errors.clamp(min=1e-9).log10()).mean())
