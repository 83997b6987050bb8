"""Which tensors a component of Stable Diffusion has by its config, without torch: to compare with a file's header.

States the names that every model of the layout has; what a config adds beyond the known block types is not stated.
Tested against the real classes. Knows diffusers' and transformers' names of modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.models.weights import TensorInfo

MAX_BLOCKS = 64
BOTH = ("weight", "bias")
_WITH_ATTENTION = "CrossAttn"
_PLAIN: Mapping[str, object] = {
    "dual_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
    "reverse_transformer_layers_per_block": None,
}
"""Settings of a U-Net whose other values give its modules other names."""
_KNOWN_BLOCKS = ("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")


def missing_tensors(part: str, config: JsonObject, tensors: Mapping[str, TensorInfo]) -> list[str]:
    """Names that the component needs and the file lacks, sorted. part: "unet", "vae", "text_encoder" or
    "text_encoder_2", which has a projection.

    Raises KeyError, TypeError or ValueError for a config of other types.
    """
    if part.startswith("text_encoder"):
        present = {name.removeprefix("text_model.") for name in tensors}
        projection = {"text_projection.weight"} if part == "text_encoder_2" else set()
        return sorted((set(text_encoder_names(config)) | projection) - present)
    names = {"unet": unet_names, "vae": vae_names}[part]
    present = {_renamed(name) for name in tensors}
    return sorted(set(names(config)) - present)


def unet_names(config: JsonObject) -> Iterator[str]:
    """Of a UNet2DConditionModel with the block types of SD 1.x and 2.x; of other blocks and settings none."""
    if any(config.get(key, usual) != usual for key, usual in _PLAIN.items()):
        return
    down, up = list(config["down_block_types"]), list(config["up_block_types"])
    layers = _per_block(config.get("layers_per_block", 2), len(down))
    depths = _per_block(config.get("transformer_layers_per_block", 1), len(down))
    for module in ("conv_in", "time_embedding.linear_1", "time_embedding.linear_2", "conv_out"):
        yield from _both(module)
    if config.get("addition_embed_type") == "text_time":
        for module in ("add_embedding.linear_1", "add_embedding.linear_2"):
            yield from _both(module)
    if config.get("norm_num_groups", 32) is not None:
        yield from _both("conv_norm_out")
    for number, kind in enumerate(down):
        if kind in _KNOWN_BLOCKS:
            yield from _block(f"down_blocks.{number}", kind, layers[number], depths[number])
            if number < len(down) - 1:
                yield from _both(f"down_blocks.{number}.downsamplers.0.conv")
    if config.get("mid_block_type", "UNetMidBlock2DCrossAttn") == "UNetMidBlock2DCrossAttn":
        yield from _resnet("mid_block.resnets.0", timed=True)
        yield from _transformer("mid_block.attentions.0", depths[-1])
        yield from _resnet("mid_block.resnets.1", timed=True)
    for number, kind in enumerate(up):
        if kind in _KNOWN_BLOCKS:
            backwards = len(down) - 1 - number
            yield from _block(f"up_blocks.{number}", kind, layers[backwards] + 1, depths[backwards])
            if number < len(up) - 1:
                yield from _both(f"up_blocks.{number}.upsamplers.0.conv")


def vae_names(config: JsonObject) -> Iterator[str]:
    """Of an AutoencoderKL."""
    blocks = _number(len(config["block_out_channels"]), "block_out_channels")
    layers = _number(config.get("layers_per_block", 1), "layers_per_block")
    for side, kind, sampler, per_block in (
        ("encoder", "down_blocks", "downsamplers", layers),
        ("decoder", "up_blocks", "upsamplers", layers + 1),
    ):
        for module in ("conv_in", "conv_norm_out", "conv_out"):
            yield from _both(f"{side}.{module}")
        for number in range(2):
            yield from _resnet(f"{side}.mid_block.resnets.{number}", timed=False)
        if config.get("mid_block_add_attention", True):
            for module in ("group_norm", "to_q", "to_k", "to_v", "to_out.0"):
                yield from _both(f"{side}.mid_block.attentions.0.{module}")
        for block in range(blocks):
            for number in range(per_block):
                yield from _resnet(f"{side}.{kind}.{block}.resnets.{number}", timed=False)
            if block < blocks - 1:
                yield from _both(f"{side}.{kind}.{block}.{sampler}.0.conv")
    if config.get("use_quant_conv", True):
        yield from _both("quant_conv")
    if config.get("use_post_quant_conv", True):
        yield from _both("post_quant_conv")


def text_encoder_names(config: JsonObject) -> Iterator[str]:
    """Of a CLIPTextModel, without the prefix `text_model.` that older files have."""
    yield "embeddings.token_embedding.weight"
    yield "embeddings.position_embedding.weight"
    yield from _both("final_layer_norm")
    for layer in range(_number(config.get("num_hidden_layers", 12), "num_hidden_layers")):
        for module in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"):
            yield from _both(f"encoder.layers.{layer}.{module}")
        for module in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _both(f"encoder.layers.{layer}.self_attn.{module}")


def _block(name: str, kind: str, layers: int, depth: int) -> Iterator[str]:
    for number in range(layers):
        yield from _resnet(f"{name}.resnets.{number}", timed=True)
        if kind.startswith(_WITH_ATTENTION):
            yield from _transformer(f"{name}.attentions.{number}", depth)


def _resnet(name: str, *, timed: bool) -> Iterator[str]:
    for module in ("norm1", "conv1", "norm2", "conv2", *(["time_emb_proj"] if timed else [])):
        yield from _both(f"{name}.{module}")


def _transformer(name: str, depth: int) -> Iterator[str]:
    for module in ("norm", "proj_in", "proj_out"):
        yield from _both(f"{name}.{module}")
    for number in range(depth):
        block = f"{name}.transformer_blocks.{number}"
        for module in ("norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2"):
            yield from _both(f"{block}.{module}")
        for attention in ("attn1", "attn2"):
            yield from (f"{block}.{attention}.{module}.weight" for module in ("to_q", "to_k", "to_v"))
            yield from _both(f"{block}.{attention}.to_out.0")


def _both(module: str) -> Iterable[str]:
    return (f"{module}.{name}" for name in BOTH)


def _per_block(value: Any, blocks: int) -> list[int]:
    """A number for all blocks, or one for each."""
    values = [value] * _number(blocks, "down_block_types") if isinstance(value, int) else list(value)
    if len(values) != blocks:
        raise ValueError(f"a number for each of {blocks} blocks")
    return [_number(one, "layers of a block") for one in values]


def _number(value: Any, what: str) -> int:
    if type(value) is not int or not 1 <= value <= MAX_BLOCKS:
        raise ValueError(f"{what}: from 1 to {MAX_BLOCKS}, got {str(value)[:40]}")
    return value


def _renamed(name: str) -> str:
    """Attention of older VAE files has other names, which diffusers converts."""
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        for end in BOTH:
            if name.endswith(f".mid_block.attentions.0.{old}.{end}"):
                return name.removesuffix(f"{old}.{end}") + f"{new}.{end}"
    return name
