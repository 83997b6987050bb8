"""Stage clip: a text and an image encoder trained together on pictures and captions.

The text encoder is frozen afterwards and conditions the U-Net; the image encoder serves offline metrics.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from recipes.mini.make import checkpoints, data
from recipes.mini.make.checkpoints import Clock
from recipes.mini.make.compute import autocast, device_of
from recipes.mini.make.modules import MAX_TOKENS, new_clip
from recipes.mini.make.settings import Settings
from recipes.mini.make.tokens import new_tokenizer

_RATE = 1e-3
_SHORT = 28  # captions are shorter than this; the encoder is causal, so padding does not change the end token
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's own


def run(settings: Settings) -> None:
    """Train until the budget is spent; leaves clip/model in the transformers layout. Restarts if interrupted."""
    folder = settings.folder("clip")
    if (folder / "model" / "config.json").exists():
        return
    device = checkpoints.prepare(settings, 1)
    tokenizer = new_tokenizer(settings.folder("clip/tokenizer"))
    clip = new_clip(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id).to(device)
    optimizer = torch.optim.AdamW(clip.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    tokens = tokenize(tokenizer, data.CAPTIONS, _SHORT).to(device)
    arrays, held_out = _joined(settings, "train"), _joined(settings, "held_out")
    rng, clock, step = np.random.default_rng(0), Clock(settings.clip_minutes, device=device), 0
    while (share := clock.share) < 1.0:
        checkpoints.set_rate(optimizer, _RATE * checkpoints.trapezoid(share, step))
        loss = _step(clip, optimizer, arrays, tokens, rng, settings.clip_batch, identity=step % 4 == 0)
        step += 1
        if clock.due("log", 1.0):
            print(
                f"clip: {clock.spent:.1f} min step {step} loss {loss:.3f} {_accuracy(clip, held_out, tokens)}",
                flush=True,
            )
    print(f"clip: done, step {step}, {_accuracy(clip, held_out, tokens)}", flush=True)
    _save(clip, folder / "model")


def _joined(settings: Settings, part: str) -> dict[str, np.ndarray]:
    shards = data.load(settings, part, ("reference", "picture", "caption", "scene", "class"))
    return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}


def load_clip(settings: Settings) -> tuple[CLIPModel, CLIPTokenizer]:
    """The finished encoders, frozen, and their tokenizer."""
    clip = CLIPModel.from_pretrained(settings.folder("clip") / "model")
    tokenizer = new_tokenizer(settings.folder("clip/tokenizer"))
    return clip.to(device_of(settings.device)).eval().requires_grad_(False), tokenizer


def tokenize(tokenizer: CLIPTokenizer, texts: list[str], length: int = MAX_TOKENS) -> Tensor:
    return tokenizer(
        texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    ).input_ids


def pixels(pictures: np.ndarray, device: torch.device | str) -> Tensor:
    """uint8 [n, 64, 64, 3] to CLIP's normalised [n, 3, 64, 64]."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).float() / 255
    return ((tensor - torch.tensor(MEAN, device=device)) / torch.tensor(DEVIATION, device=device)).permute(
        0, 3, 1, 2
    )


def _step(
    clip: CLIPModel,
    optimizer: torch.optim.Optimizer,
    arrays: dict[str, np.ndarray],
    tokens: Tensor,
    rng: np.random.Generator,
    count: int,
    identity: bool,
) -> float:
    """Captions of the same class and scene are equally right; a picture should also be near its own reference."""
    rows = rng.choice(len(arrays["class"]), size=count, replace=False)
    column = int(rng.integers(arrays["scene"].shape[1]))
    kind = torch.from_numpy(arrays["class"][rows] * 1000 + arrays["scene"][rows, column]).to(tokens.device)
    with autocast(tokens.device):
        image = _image(clip, pixels(arrays["picture"][rows, column], tokens.device))
        reference = _image(clip, pixels(arrays["reference"][rows], tokens.device)) if identity else None
        text = _text(clip, tokens[torch.from_numpy(arrays["caption"][rows, column]).long()])
    scale = clip.logit_scale.exp().clamp(max=50)
    same = (kind[:, None] == kind[None, :]).float()
    logits = scale * image.float() @ text.float().T
    target = same / same.sum(dim=1, keepdim=True)
    loss = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    if reference is not None:
        own = torch.arange(count, device=kind.device)
        loss = loss + functional.cross_entropy(scale * image.float() @ reference.float().T, own)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _image(clip: CLIPModel, pictures: Tensor) -> Tensor:
    return functional.normalize(clip.visual_projection(clip.vision_model(pictures).pooler_output), dim=-1)


def _text(clip: CLIPModel, tokens: Tensor) -> Tensor:
    return functional.normalize(clip.text_projection(clip.text_model(tokens).pooler_output), dim=-1)


@torch.no_grad()
def _accuracy(clip: CLIPModel, held_out: dict[str, np.ndarray], tokens: Tensor) -> str:
    """How often the own caption's class and scene win among all captions of the held-out set."""
    captions = np.unique(held_out["caption"][:, 0])
    text = _text(clip, tokens[torch.from_numpy(captions).long()])
    image = _image(clip, pixels(held_out["picture"][:, 0], tokens.device))
    best = captions[(image @ text.T).argmax(dim=1).cpu().numpy()]
    kinds = {
        c: (k, s)
        for c, k, s in zip(held_out["caption"][:, 0], held_out["class"], held_out["scene"][:, 0], strict=True)
    }
    winners = np.array([kinds[c] for c in best])
    named = (winners[:, 0] == held_out["class"]).mean()
    placed = (winners[:, 1] == held_out["scene"][:, 0]).mean()
    return f"held-out class {named:.3f} scene {placed:.3f}"


def _save(clip: CLIPModel, path: Path) -> None:
    partial = path.with_name("model.partial")
    clip.eval().save_pretrained(partial)
    partial.rename(path)
