"""Stage vae: the autoencoder, first on crops, then on whole pictures."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from diffusers import AutoencoderKL
from torch import Tensor

from recipes.mini.make import checkpoints, data
from recipes.mini.make.checkpoints import Clock
from recipes.mini.make.modules import make_vae
from recipes.mini.make.settings import SIZE, Settings

_RATE = 1e-3
_CROPS_UNTIL = 0.6  # share of the budget spent on 32-px crops
_KL = 1.5e-3


def run(settings: Settings) -> None:
    """Train until the budget is spent; leaves vae/last.pt while training and vae/vae.pt when done."""
    folder = settings.folder("vae")
    if (folder / "vae.pt").exists():
        return
    device = checkpoints.prepare(settings)
    vae = make_vae().to(device)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=_RATE, betas=(0.9, 0.99), weight_decay=1e-3)
    state = checkpoints.read(folder / "last.pt") or {"spent": 0.0, "step": 0}
    if "vae" in state:
        vae.load_state_dict(state["vae"])
    if "optimizer" in state:  # not where the weights of the package go on
        optimizer.load_state_dict(state["optimizer"])
    clock, step = Clock(settings.vae_minutes, state["spent"]), state["step"]
    pictures = load_pictures(settings, "train")
    held_out = to_tensor(load_pictures(settings, "held_out")[:128], device)
    rng = np.random.default_rng(step)
    while clock.share < 1.0:
        checkpoints.set_rate(optimizer, _RATE * checkpoints.cosine(clock.share, step))
        batch = draw_batch(pictures, rng, settings.vae_batch, clock.share < _CROPS_UNTIL)
        loss = take_step(vae, optimizer, to_tensor(batch, device))
        step += 1
        if clock.due("log", 1.0):
            print(
                f"vae: {clock.spent:.1f} min step {step} loss {loss:.4f} psnr {psnr(vae, held_out):.2f}",
                flush=True,
            )
            _save(folder / "last.pt", vae, optimizer, clock, step)
    fold_statistics(vae, to_tensor(pictures[rng.integers(len(pictures), size=1024)], device))
    print(f"vae: done, step {step}, psnr {psnr(vae, held_out):.2f}", flush=True)
    checkpoints.write(folder / "vae.pt", {"vae": vae.state_dict()})


def load_vae(settings: Settings) -> AutoencoderKL:
    """The finished autoencoder, frozen."""
    state = checkpoints.read(settings.folder("vae") / "vae.pt")
    if state is None:
        raise FileNotFoundError(f"{settings.work / 'vae' / 'vae.pt'}: run --stage vae first")
    vae = make_vae()
    vae.load_state_dict(state["vae"])
    return vae.to(settings.device).eval().requires_grad_(False)


def take_step(vae: AutoencoderKL, optimizer: torch.optim.Optimizer, target: Tensor) -> float:
    with torch.autocast(target.device.type, torch.bfloat16):
        posterior = vae.encode(target).latent_dist
        mean, spread = posterior.mean.float(), posterior.logvar.float().clamp(-20, 4)
        latent = mean + torch.randn_like(mean) * torch.exp(0.5 * spread)
        made = vae.decode(latent).sample.float()
    error = (
        functional.mse_loss(made, target)
        + 0.5 * functional.l1_loss(made, target)
        + 0.25 * _edges(made, target)
    )
    kl = 0.5 * (mean.square() + spread.exp() - 1 - spread).mean()
    optimizer.zero_grad(set_to_none=True)
    (error + _KL * kl).backward()
    torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
    optimizer.step()
    return float(error.detach())


def _edges(made: Tensor, target: Tensor) -> Tensor:
    """Difference of the pictures' slopes: keeps outlines and logos crisp."""
    gap = made - target
    return gap.diff(dim=2).abs().mean() + gap.diff(dim=3).abs().mean()


@torch.no_grad()
def fold_statistics(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Make the latents' channels zero-mean and unit-variance by changing the quant convolutions only."""
    means = torch.cat([vae.encode(part).latent_dist.mean for part in pictures.split(128)])
    mean, deviation = means.mean(dim=(0, 2, 3)), means.std(dim=(0, 2, 3))
    into, back = vae.quant_conv, vae.post_quant_conv
    channels = len(mean)
    back.bias += (back.weight[:, :, 0, 0] * mean).sum(dim=1)
    back.weight *= deviation.view(1, -1, 1, 1)
    into.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.bias[channels:] -= 2 * deviation.log()


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor) -> float:
    with torch.autocast(pictures.device.type, torch.bfloat16):
        made = vae.decode(vae.encode(pictures).latent_dist.mode()).sample.float()
    error = ((made.clamp(-1, 1) - pictures) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * error.log10()).mean())


def load_pictures(settings: Settings, part: str) -> np.ndarray:
    """References and scenes, uint8 [n, 64, 64, 3]."""
    arrays = data.load(settings, part, ("reference", "picture"))
    scenes = arrays["picture"].reshape(-1, SIZE, SIZE, 3)
    return np.concatenate([arrays["reference"][::2], scenes]) if part == "train" else scenes


def draw_batch(pictures: np.ndarray, rng: np.random.Generator, count: int, crops: bool) -> np.ndarray:
    if not crops:
        return pictures[rng.integers(len(pictures), size=count)]
    half = SIZE // 2
    made = np.empty((count * 2, half, half, 3), np.uint8)
    for slot in range(len(made)):
        y, x = rng.integers(0, half + 1, size=2)
        made[slot] = pictures[rng.integers(len(pictures))][y : y + half, x : x + half]
    return made


def to_tensor(pictures: np.ndarray, device: torch.device) -> Tensor:
    """uint8 [n, h, w, 3] to float [n, 3, h, w] in -1..1."""
    tensor = (
        torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    )
    return tensor.contiguous()


def _save(path: Any, vae: AutoencoderKL, optimizer: torch.optim.Optimizer, clock: Clock, step: int) -> None:
    checkpoints.write(
        path,
        {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "spent": clock.spent, "step": step},
    )
