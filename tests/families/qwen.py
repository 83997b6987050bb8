"""A tiny Qwen-Image 2.1 of the real classes with random weights that react to their reference: saved in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage21,
    FlowMatchEulerDiscreteScheduler,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
)
from transformers import Qwen2TokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from dreamcache.inference.families.qwen_image.reader import QwenReader

REACTION = 3.0
"""On the transformer's matrices: as they are initialised, a wrong reference would hardly move a pixel."""
SIDE = 64
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}<|im_end|>\n{% endfor %}"
)


def make_reader() -> QwenReader:
    """Spells every text in bytes."""
    tokens = [*bytes_to_unicode().values(), *SPECIAL]
    words = Qwen2TokenizerFast(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[],
        pad_token=SPECIAL[0],
        additional_special_tokens=list(SPECIAL),
    )
    words.chat_template = CHAT
    photos = Qwen2VLImageProcessorPil(
        patch_size=16, merge_size=2, temporal_patch_size=2,
        size={"shortest_edge": 32 * 32, "longest_edge": 4096 * 4096},
    )  # fmt: skip
    return QwenReader(image_processor=photos, tokenizer=words, video_processor=None, chat_template=CHAT)


def _make_text(reader: QwenReader) -> Qwen3VLForConditionalGeneration:
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    ids = {name: reader.tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in names}
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config=dict(
                vocab_size=len(reader.tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=3,
                num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=1024,
                rope_parameters={
                    "rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2],
                    "mrope_interleaved": True,
                },
            ),
            vision_config=dict(
                depth=2, hidden_size=16, intermediate_size=32, num_heads=2, patch_size=16, spatial_merge_size=2,
                temporal_patch_size=2, out_hidden_size=32, num_position_embeddings=16, deepstack_visual_indexes=[0],
            ),
            **{f"{name}_token_id": ids[name] for name in ("vision_start", "vision_end")},
            image_token_id=ids["image_pad"],
            video_token_id=ids["video_pad"],
        )
    )  # fmt: skip


def make_qwen() -> QwenImage21Pipeline:
    """Three blocks, 32 channels wide."""
    torch.manual_seed(0)
    reader = make_reader()
    text = _make_text(reader)
    transformer = QwenImage21Transformer2DModel(
        in_channels=8, out_channels=8, num_layers=3, attention_head_dim=16, num_attention_heads=2, context_in_dim=32,
        axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    with torch.no_grad():
        for weight in transformer.parameters():
            if weight.ndim == 2:
                weight.mul_(REACTION)
    vae = AutoencoderKLQwenImage21(
        base_dim=8, decoder_base_dim=8, z_dim=8, dim_mult=[1, 1, 1, 1, 1], num_res_blocks=1,
        latents_mean=[0.1] * 8, latents_std=[1.5] * 8,
    )  # fmt: skip
    pipe = QwenImage21Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae.eval(),
        text_encoder=text.eval(),
        processor=reader,
        transformer=transformer.eval(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_qwen(folder: Path) -> Path:
    """The pipeline in the diffusers layout, its processor in files as the real one has them."""
    pipe = make_qwen()
    reader = pipe.processor
    pipe.register_modules(processor=None)  # saving the real class needs torchvision
    pipe.save_pretrained(folder)
    reader.tokenizer.save_pretrained(folder / "processor")
    reader.image_processor.save_pretrained(folder / "processor")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps({**index, "processor": ["transformers", "Qwen3VLProcessor"]})
    )
    return folder
