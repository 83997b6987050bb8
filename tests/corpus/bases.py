"""Base models as people copy, cut, mix and link them: a good folder of the Stable Diffusion layout, damaged in place.

The good folder is `tests.header_base`'s: true configs, and weights that hold every name with one number.
"""

from __future__ import annotations

from pathlib import Path

from tests.corpus.base_inputs import (
    JSON_FILES,
    TEXT,
    UNET,
    UNET_INDEX,
    UNET_SHARD,
    VAE,
    a_file_instead,
    bad_index,
    beside,
    change,
    cut,
    flipped,
    header,
    link,
    of_first,
    pipe,
    removed,
    renamed,
    replaced,
    shards,
    stated_length,
    swapped,
    without,
)
from tests.corpus.kind import USED, Kind

BAD = "bad_model"

KINDS = [
    Kind(
        name="base/json-cut-short",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={name: cut(name, 0.6) for name in JSON_FILES} | {"empty config": cut("unet/config.json", 0)},
    ),
    Kind(
        name="base/json-of-another-kind",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={
            label: replaced("unet/config.json", data)
            for label, data in {
                "list": b"[1]",
                "number": b"7",
                "text": b'"unet"',
                "null": b"null",
                "NaN": b'{"sample_size": NaN}',
                "nested 100,000 deep": b"[" * 100_000,
                "UTF-16": '{"sample_size": 64}'.encode("utf-16"),
                "a page of HTML": b"<html>404</html>",
                "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
                "a number of 5,000 digits": b'{"sample_size": ' + b"9" * 5000 + b"}",
            }.items()
        },
    ),
    Kind(
        name="base/config-of-other-types",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={
            "sample_size text": change("unet/config.json", sample_size="64"),
            "sample_size of two sides": change("unet/config.json", sample_size=[64, 32]),
            "sample_size null": change("unet/config.json", sample_size=None),
            "sample_size absurd": change("unet/config.json", sample_size=10**12),
            "no sample_size": change("unet/config.json", sample_size=...),
            "block_out_channels of the VAE text": change("vae/config.json", block_out_channels="abc"),
            "block_out_channels of the VAE empty": change("vae/config.json", block_out_channels=[]),
            "no block_out_channels": change("vae/config.json", block_out_channels=...),
            "layers_per_block absurd": change("unet/config.json", layers_per_block=10**9),
            "down_block_types a number": change("unet/config.json", down_block_types=5),
            "layers for other blocks": change("unet/config.json", layers_per_block=[2, 2]),
            "layers of the text encoder negative": change("text_encoder/config.json", num_hidden_layers=-1),
            "layers of the VAE a list": change("vae/config.json", layers_per_block=[2]),
        },
    ),
    Kind(
        name="base/index-of-other-parts",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={
            "no unet": change("model_index.json", unet=...),
            "unet null": change("model_index.json", unet=[None, None]),
            "unet a text": change("model_index.json", unet="UNet2DConditionModel"),
            "a list of three": change("model_index.json", vae=["diffusers", "AutoencoderKL", 1]),
            "a module of its own": change("model_index.json", scheduler=["my_code", "Scheduler"]),
            "a module of Python": change("model_index.json", unet=["os", "system"]),
            "a safety checker that is not there": change(
                "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"]
            ),
            "a feature extractor that is not there": change(
                "model_index.json", feature_extractor=["transformers", "CLIPImageProcessor"]
            ),
        },
    ),
    Kind(
        name="base/files-that-are-not-there",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={name: removed(name) for name in (UNET, VAE, TEXT, *JSON_FILES) if "tokenizer_c" not in name}
        | {"tokenizer/merges.txt": removed("tokenizer/merges.txt")},
    ),
    Kind(
        name="base/folders-that-are-not-there",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={part: removed(part) for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")}
        | {f"{part} a file": a_file_instead(part) for part in ("unet", "vae", "tokenizer")},
    ),
    Kind(
        name="base/damaged-weights",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={
            "empty": replaced(UNET, b""),
            "seven bytes": replaced(UNET, b"1234567"),
            "noise": replaced(VAE, bytes(range(256)) * 8),
            "a git-lfs pointer": replaced(
                TEXT, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
            ),
            "a header of 2^63 bytes": stated_length(UNET, 1 << 63),
            "a header of 99 MB": stated_length(UNET, 99_000_000),
            "a header of no bytes": stated_length(VAE, 0),
            "a bit flipped at the start": flipped(UNET, 9),
            "a bit flipped in a name": flipped(TEXT, 40),
            "cut in the middle": cut(UNET, 0.9),
            "cut in the header": cut(VAE, 0.3),
            "a shape that is negative": header(UNET, of_first("shape", [-1])),
            "a shape of other size": header(UNET, of_first("shape", [10**15])),
            "an unknown dtype": header(VAE, of_first("dtype", "F7")),
            "a tensor without a place": header(TEXT, of_first("data_offsets", [])),
            "tensors over each other": header(TEXT, of_first("data_offsets", [4, 8])),
            "a tensor that is a number": header(UNET, lambda stated: stated.update(conv=7)),
        },
    ),
    Kind(
        name="base/tensors-that-are-not-there",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={
            "two of the middle block": without(UNET, "mid_block.attentions.0.norm."),
            "the first convolution": without(UNET, "conv_in."),
            "a level of the decoder half": without(UNET, "up_blocks.2."),
            "an attention's output": without(UNET, "down_blocks.1.attentions.0.proj_out."),
            "the VAE's decoder": without(VAE, "decoder."),
            "the VAE's last convolution": without(VAE, "post_quant_conv."),
            "a layer of the text encoder": without(TEXT, "encoder.layers.1."),
            "the text encoder's words": without(TEXT, "token_embedding"),
            "the VAE's weights as the U-Net's": swapped(UNET, VAE),
            "the U-Net's weights as the text encoder's": swapped(TEXT, UNET),
            "none at all": header(VAE, lambda stated: stated.clear()),
        },
    ),
    Kind(
        name="base/pickled-weights",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={
            f"{Path(name).parent}{suffix}": renamed(suffix, name)
            for name in (UNET, VAE, TEXT)
            for suffix in (".bin", ".ckpt", ".msgpack")
        },
    ),
    Kind(
        name="base/links-and-devices",
        door="base",
        code=BAD,
        exit_code=1,
        s3=False,
        inputs={
            "weights outside": link(UNET, "{outside}/{name}"),
            "a config outside": link("unet/config.json", "{outside}/{name}"),
            "the system's users": link("tokenizer/merges.txt", "/etc/passwd"),
            "a link to itself": link(VAE, "{name}"),
            "a link to nothing": link("scheduler/scheduler_config.json", "/nowhere/at/all"),
            "zeros without end": link(UNET, "/dev/zero"),
            "a folder": link("vae/config.json", "/tmp"),
            "a pipe as config": pipe("unet/config.json"),
            "a pipe as weights": pipe(TEXT),
            "a pipe as vocabulary": pipe("tokenizer/vocab.json"),
        },
    ),
    Kind(
        name="base/shards-that-do-not-fit",
        door="base",
        code=BAD,
        exit_code=1,
        inputs={
            "a list": bad_index(["a"]),
            "empty": bad_index({}),
            "numbers": bad_index({"conv_in.weight": 1}),
            "null": bad_index({"conv_in.weight": None}),
            "a shard that is not there": bad_index({"conv_in.weight": "diffusion-2.safetensors"}),
            "a shard above": bad_index({"conv_in.weight": "../vae/diffusion_pytorch_model.safetensors"}),
            "an absolute path": bad_index({"conv_in.weight": "/etc/passwd.safetensors"}),
            "a shard in a folder": bad_index({"conv_in.weight": "more/a.safetensors"}),
            "pickled shards": bad_index({"conv_in.weight": "pytorch_model.bin"}),
        },
    ),
    Kind(
        name="base/half-precision-and-shards",
        door="base",
        code=USED,
        exit_code=0,
        inputs={
            "fp16 alone": renamed(".fp16.safetensors", UNET, VAE, TEXT),
            "fp16 of the U-Net": renamed(".fp16.safetensors", UNET),
            "fp16 of the VAE": renamed(".fp16.safetensors", VAE),
            "fp16 of the text encoder": renamed(".fp16.safetensors", TEXT),
            "shards": shards(UNET, UNET_SHARD, UNET_INDEX),
            "shards of fp16": shards(
                UNET,
                "diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
                "diffusion_pytorch_model.safetensors.index.fp16.json",
            ),
            "shards of fp16 as they were called": shards(
                UNET,
                "diffusion_pytorch_model-00001-of-00001.fp16.safetensors",
                "diffusion_pytorch_model.safetensors.fp16.index.json",
            ),
            "shards of the text encoder": shards(
                TEXT, "model-00001-of-00001.safetensors", "model.safetensors.index.json"
            ),
            "shards of the text encoder of fp16": shards(
                TEXT, "model.fp16-00001-of-00001.safetensors", "model.safetensors.index.fp16.json"
            ),
        },
    ),
    Kind(
        name="base/files-that-no-loader-takes",
        door="base",
        code=USED,
        exit_code=0,
        inputs={
            "README in unet": beside("unet/README.txt"),
            "a variant beside": beside("unet/diffusion_pytorch_model.fp16.safetensors"),
            "pickled weights beside": beside("vae/diffusion_pytorch_model.bin"),
            "a whole checkpoint": beside("sd-v1-5.safetensors"),
            "another component": beside("unet_ema/config.json", b"{"),
            "a safety checker that the index does not name": beside("safety_checker/config.json", b"{"),
            "_diffusers_version": change("unet/config.json", _diffusers_version="0.30.0"),
            "transformers_version": change("text_encoder/config.json", transformers_version="4.0.0"),
            "where it came from": change("vae/config.json", _name_or_path="/home/me/vae"),
            "a file without a dot": beside("unet/LICENSE"),
            "a hidden file": beside("unet/.cache.json", b"{"),
        },
    ),
]
