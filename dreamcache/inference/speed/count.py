"""FLOPs, counted at true size on torch's meta device: seconds of one core, no arithmetic, no noise.

    Size --count--> Parts (halves, adapters, VAE) x Savings.work --> TFLOP of an image

A multiply-add is 2 FLOPs. Attention counts as its two matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from dreamcache.core.config import GenerationSettings
from dreamcache.core.config.savings import Guided
from dreamcache.inference.families.sd_sizes import predictions_of
from dreamcache.inference.speed.shapes import (
    IP_TOKENS,
    SD21,
    TOKENS,
    Size,
    build_adapter,
    build_unet,
    build_vae,
)
from dreamcache.model.guidance import BRANCHES
from dreamcache.model.inject import Memory, injecting
from dreamcache.model.places import feature_shapes
from dreamcache.model.unet import SIZES, added_width, decoder_half, encoder_half, pooled_width, reads_added

TERA = 1e12


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """FLOPs of a row. adapters: what a row with a reference adds to the decoder half, its keys and values kept.

    project: keys and values of a subject. ip_adapter: what IP-Adapter adds to a row. vae: decoding of an image.
    """

    encoder: int
    decoder: int
    adapters: int
    project: int
    ip_adapter: int
    vae: int

    def step(self, guidance: str, guided: Guided = Guided.ALL, *, encodes: bool = True) -> int:
        """One prediction; guidance: of `model.guidance.BRANCHES`, "text" is plain guidance."""
        branches = BRANCHES[guidance] if guided is Guided.ALL else BRANCHES[guidance][-1:]
        texts = len({text for _, text in branches})
        with_image = sum(image for image, _ in branches)
        return texts * self.encoder * encodes + len(branches) * self.decoder + with_image * self.adapters

    def image(self, settings: GenerationSettings, guidance: str | None = None) -> int:
        """All predictions of an image and its decoding. guidance: None takes the settings' own."""
        work = settings.savings.work(predictions_of(settings))
        mode = guidance or settings.guidance
        return sum(self.step(mode, one.guided, encodes=one.encodes) for one in work) + self.vae

    def ip_adapter_image(self, predictions: int) -> int:
        """Of IP-Adapter in diffusers: two rows in each prediction, each with image tokens."""
        return predictions * 2 * (self.encoder + self.decoder + self.ip_adapter) + self.vae


@lru_cache(maxsize=4)
def count(size: Size = SD21) -> Parts:
    """The parts of a model of this size."""
    side = size.latent_side
    unet = build_unet(size, dtype=torch.float32, device="meta")
    vae = build_vae(size, dtype=torch.float32, device="meta")
    adapter = build_adapter(unet, dtype=torch.float32, device="meta")
    with torch.device("meta"):
        latents, step = torch.empty(1, 4, side, side), torch.empty(1)
        text = torch.empty(1, TOKENS, size.text_width)
        added = torch.empty(1, added_width(unet)) if reads_added(unet) else None
        maps = {
            place: torch.empty(1, *shape)
            for place, shape in feature_shapes(unet, adapter.places, (side, side)).items()
        }
        memory = Memory(keys_values=adapter.project(maps))
        state = encoder_half(unet, latents, step, text, added)
        decoder = flops(lambda: decoder_half(unet, state, text))
        with injecting(unet, adapter, memory):
            injected = flops(lambda: decoder_half(unet, state, text))
        return Parts(
            encoder=flops(lambda: encoder_half(unet, latents, step, text, added)),
            decoder=decoder,
            adapters=injected - decoder,
            project=flops(lambda: adapter.project(maps)),
            ip_adapter=_ip_adapter(unet, side),
            vae=flops(lambda: vae.decode(latents)),
        )


def image_tflop(settings: GenerationSettings, size: Size = SD21) -> float:
    """Of one image with a reference. settings: resolved, or with steps set."""
    return count(size).image(settings) / TERA


def flops(work: Callable[[], object]) -> int:
    """Of one call."""
    with torch.no_grad(), _plain_attention(), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _ip_adapter(unet: Any, side: int) -> int:
    """Keys and values of the image tokens, and attention to them, at every text attention."""
    total = 0
    inputs: dict[str, int] = {}

    def see(name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, kwargs: Any, output: Tensor) -> None:
            inputs[name] = output.shape[1]

        return hook

    names = [n.removesuffix(".processor") for n in unet.attn_processors if n.endswith("attn2.processor")]
    handles = [unet.get_submodule(n).register_forward_hook(see(n), with_kwargs=True) for n in names]
    width = unet.config.cross_attention_dim
    more: dict[str, Any] = {}
    if reads_added(unet):
        pooled = torch.empty(1, pooled_width(unet))
        more["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": torch.empty(1, SIZES)}
    unet(torch.empty(1, 4, side, side), torch.empty(1), torch.empty(1, TOKENS, width), **more)
    for handle in handles:
        handle.remove()
    for name, tokens in inputs.items():
        hidden = unet.get_submodule(name).to_q.out_features
        total += 2 * (2 * IP_TOKENS * width * hidden) + 2 * (2 * tokens * IP_TOKENS * hidden)
    return total


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention as two matrix products, which the counter knows on every device."""

    def attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return torch.matmul(torch.matmul(query, key.transpose(-1, -2)), value)

    before = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = before
