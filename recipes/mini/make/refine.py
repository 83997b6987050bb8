"""Stage refine: the autoencoder goes on, on whole pictures, to averaged weights; what it had encoded is dropped.

Gentle enough for a U-Net of the old latents to follow within some thousand pictures. Resumes; the same as `vae` in
loss and measure, but for the optimizer.
"""

import shutil

import numpy as np
from diffusers import AutoencoderKL

from recipes.mini.make import checkpoints
from recipes.mini.make.checkpoints import Average, Clock
from recipes.mini.make.modules import make_vae
from recipes.mini.make.optimizer import MatrixAdam
from recipes.mini.make.settings import Settings
from recipes.mini.make.vae import (
    draw_batch,
    fold_statistics,
    load_pictures,
    load_vae,
    psnr,
    take_step,
    to_tensor,
)

_BATCH = 8
_DECAY = 0.998


def run(settings: Settings) -> None:
    """Trains until the budget is spent; leaves vae/refine.pt while training, then vae/vae.pt anew."""
    folder = settings.folder("vae")
    device = checkpoints.prepare(settings)
    vae = load_vae(settings).train().requires_grad_(True)
    optimizer = MatrixAdam(vae.parameters(), lr=settings.refine_lr, weight_decay=1e-3)
    average = Average(vae, _DECAY)
    state = checkpoints.read(folder / "refine.pt") or {"spent": 0.0, "step": 0}
    if "vae" in state:
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        average.values = {name: value.to(device) for name, value in state["average"].items()}
    clock, step = Clock(settings.refine_minutes, state["spent"]), state["step"]
    average.step = step
    pictures = load_pictures(settings, "train")
    held_out = to_tensor(load_pictures(settings, "held_out")[:128], device)
    rng = np.random.default_rng(step)
    while clock.share < 1.0:
        checkpoints.set_rate(
            optimizer, settings.refine_lr * checkpoints.cosine(clock.share, step, floor=0.01)
        )
        loss = take_step(vae, optimizer, to_tensor(draw_batch(pictures, rng, _BATCH, crops=False), device))
        average.update(vae)
        step += 1
        if clock.due("log", 2.0):
            found = psnr(_averaged(average, settings), held_out)
            print(f"refine: {clock.spent:.1f} min step {step} loss {loss:.4f} psnr {found:.2f}", flush=True)
            checkpoints.write(
                folder / "refine.pt",
                {"vae": vae.state_dict(), "average": average.values, "optimizer": optimizer.state_dict()}
                | {"spent": clock.spent, "step": step},
            )
    made = _averaged(average, settings)
    fold_statistics(made, to_tensor(pictures[rng.integers(len(pictures), size=1024)], device))
    print(f"refine: done, step {step}, psnr {psnr(made, held_out):.2f}", flush=True)
    checkpoints.write(folder / "vae.pt", {"vae": made.state_dict()})
    (folder / "refine.pt").unlink(missing_ok=True)
    shutil.rmtree(settings.work / "latents", ignore_errors=True)


def _averaged(average: Average, settings: Settings) -> AutoencoderKL:
    vae = make_vae()
    vae.load_state_dict(average.values)
    return vae.to(settings.device).eval().requires_grad_(False)
