"""LoRAs put on a base by diffusers' loaders, and fused: the base is then one of plain modules with other weights.

Fused, they cost nothing a step, and taps, hooks and halves of the U-Net find the modules that they know. Knows
diffusers and peft; knows nothing of identities.
"""

from __future__ import annotations

from typing import Any

from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from dreamcache.core.errors import ModelError
from dreamcache.storage.models.base import LoraInfo

PARTS = ("unet", "text_encoder", "text_encoder_2")
FIRST_MATRICES = ("lora_A.", "lora.down.", "lora_down.", "_lora.down", "down.weight")


def fuse_loras(pipe: StableDiffusionPipeline, loras: tuple[LoraInfo, ...]) -> None:
    """Changes the weights of a diffusers pipeline. Raises ModelError for a LoRA of another kind of base."""
    names = []
    for number, lora in enumerate(loras):
        names.append(f"lora_{number}")
        try:
            state = load_file(lora.location)
            expected = _count(pipe, state)
            pipe.load_lora_weights(state, adapter_name=names[-1])
        except Exception as error:  # the loaders raise a dozen types for files that do not fit
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise ModelError(f"{_where(lora)}: does not fit this base: {reason}; {REMEDY}") from error
        fitting = sum(_has(module, names[-1]) for part in _parts(pipe) for module in part.modules())
        if fitting != expected:
            raise ModelError(
                f"{_where(lora)}: {expected} layers are in the file, {fitting} of them in this base; {REMEDY}"
            )
    try:
        pipe.set_adapters(names, [lora.weight for lora in loras])
        pipe.fuse_lora(adapter_names=names, safe_fusing=True)
    except Exception as error:  # NaN in a LoRA, for one
        raise ModelError(f"model.loras: cannot be fused: {str(error)[:300]}; {REMEDY}") from error
    pipe.unload_lora_weights()


REMEDY = "take a LoRA that was trained for this kind of base"


def refuse_unnamed(pipe: StableDiffusionPipeline) -> None:
    """Raises ModelError for LoRAs on a pipeline that its identity does not name."""
    if any(getattr(part, "peft_config", None) for part in _parts(pipe)):
        raise ModelError(
            "LoRAs were put on the base by hand, so that its features would be cached as those of the plain base; name "
            "them in from_pretrained(..., loras=[(path, weight)])"
        )


def _count(pipe: Any, state: dict[str, Any]) -> int:
    """Layers that a LoRA changes."""
    converted = pipe.lora_state_dict(dict(state), unet_config=pipe.unet.config)[0]
    return sum(any(mark in name for mark in FIRST_MATRICES) for name in converted)


def _parts(pipe: Any) -> list[Any]:
    return [part for name in PARTS if (part := getattr(pipe, name, None)) is not None]


def _has(module: Any, name: str) -> bool:
    return name in getattr(module, "lora_A", ())


def _where(lora: LoraInfo) -> str:
    return f"LoRA '{lora.location}'"
