"""Whether settings of `generation` fit a base model, by its small files: what would fail at every image, at the plan.

Knows noise schedules by their config, and CLIP's tokenizer by its vocabulary; imports no torch.
"""

from __future__ import annotations

import logging
from typing import Any

from dreamcache.core.config import GenerationSettings
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.models.base import BaseInfo, component_config, component_file
from dreamcache.storage.models.files import as_bad_model, read_json

logger = logging.getLogger(__name__)

WITHOUT_ZERO_SNR = ("pndm", "heun")
"""Schedulers that have no schedule that ends in pure noise."""

MOST_STEPS = 0.9
"""Of the steps a base was trained with. With more, timesteps are rounded to equal ones: NaN, or an index error."""

MOST_STEPS_ZERO_SNR = 0.5
"""The same of a base whose schedule ends in pure noise: euler_a gives NaN from two thirds on."""

FEW_STEPS = ("lcm", "tcd")
MOST_FEW_STEPS = 50
"""Of the schedulers of distilled models, whose timesteps are among so many."""

TOKENS = 77
"""Of CLIP, where a config does not state it."""


def check_schedule(settings: GenerationSettings, base: BaseInfo) -> None:
    """Raises SpecError for a scheduler or a number of steps that the base's noise schedule does not go with."""
    config = component_config(base, "scheduler")
    if config.get("rescale_betas_zero_snr") and settings.scheduler in WITHOUT_ZERO_SNR:
        raise SpecError(f"model '{base.name}': generation.{zero_snr_text(settings.scheduler)}")
    with as_bad_model(f"model '{base.name}': scheduler/scheduler_config.json: num_train_timesteps"):
        trained = config.get("num_train_timesteps", 1000)
        if type(trained) is not int or not 10 <= trained <= 1_000_000:
            raise ValueError(f"a number from 10 to 1000000, got {str(trained)[:40]}")
    if settings.scheduler in FEW_STEPS and settings.steps > MOST_FEW_STEPS:
        raise SpecError(
            f"model '{base.name}': generation.num_inference_steps: at most {MOST_FEW_STEPS} with scheduler "
            f"'{settings.scheduler}', got {settings.steps}; distilled models need 4 to 8"
        )
    check_steps(settings.steps, config, where=f"model '{base.name}': generation.")


def check_steps(steps: int, config: JsonObject, *, where: str = "") -> None:
    """Raises SpecError for more steps than a share of those that the base was trained with. config: a scheduler's."""
    trained = int(config.get("num_train_timesteps", 1000))
    most = int((MOST_STEPS_ZERO_SNR if config.get("rescale_betas_zero_snr") else MOST_STEPS) * trained)
    if steps > most:
        raise SpecError(
            f"{where}num_inference_steps: at most {most} with a base of {trained} training steps, got {steps}; "
            f"images hardly change beyond 50"
        )


def zero_snr_text(scheduler: str) -> str:
    """Why a base whose schedule ends in pure noise cannot be sampled with this scheduler."""
    return (
        f"scheduler: must be able to begin with pure noise, as this base does (rescale_betas_zero_snr), '{scheduler}' "
        f"is not; use ddim, dpmpp_2m, euler, euler_a, unipc, lcm or tcd"
    )


def check_negative_prompt(settings: GenerationSettings, base: BaseInfo) -> None:
    """Raises SpecError for a negative prompt of more tokens than the text encoder reads: it would cost every item.

    A tokenizer that cannot be read here is the workers' to judge.
    """
    if not settings.negative_prompt:
        return
    tokenizer = _tokenizer(base)
    if tokenizer is None:
        return
    limit = token_limit(base)
    count = len(tokenizer.encode(settings.negative_prompt).ids)
    if count > limit:
        raise SpecError(
            f"generation.negative_prompt '{settings.negative_prompt[:60]}...': at most {limit} tokens with start and "
            f"end, got {count}; shorten it"
        )


def token_limit(base: BaseInfo) -> int:
    """Tokens of one prompt, start and end included: what tokenizer and text encoder both allow."""
    limits = []
    for name, key in (
        ("tokenizer/tokenizer_config.json", "model_max_length"),
        ("text_encoder/config.json", "max_position_embeddings"),
    ):
        path = component_file(base, name)
        value = read_json(path).get(key, TOKENS) if path is not None else TOKENS
        if type(value) in (int, float) and value >= 1:
            limits.append(min(value, 10**6))
    return int(min(limits, default=TOKENS))


def _tokenizer(base: BaseInfo) -> Any:
    """CLIP's tokenizer from its vocabulary, as transformers builds it; None where it cannot be built."""
    from tokenizers import Tokenizer

    vocabulary, merges = (component_file(base, f"tokenizer/{name}") for name in ("vocab.json", "merges.txt"))
    whole = component_file(base, "tokenizer/tokenizer.json")
    try:
        if vocabulary is None or merges is None:
            return Tokenizer.from_file(str(whole)) if whole is not None else None
        return _clip_tokenizer(str(vocabulary), str(merges))
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception for a vocabulary it cannot use
        logger.warning("model '%s': its tokenizer cannot count tokens here: %s", base.name, str(error)[:200])
        return None


def _clip_tokenizer(vocabulary: str, merges: str) -> Any:
    """From vocab.json and merges.txt. Raises Exception where they are none."""
    from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE

    start, end = "<|startoftext|>", "<|endoftext|>"
    model = BPE.from_file(
        vocabulary,
        merges,
        unk_token=end,
        end_of_word_suffix="</w>",
        continuing_subword_prefix="",
    )
    tokenizer = Tokenizer(model)
    end_id, start_id = (tokenizer.token_to_id(token) for token in (end, start))
    if end_id is None or start_id is None:
        raise ValueError(f"{start} and {end} are not in it")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (start, end)])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing((end, end_id), (start, start_id), False, False)
    return tokenizer
