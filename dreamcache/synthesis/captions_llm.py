"""Captions by an instruction-tuned language model through transformers: a written prompt in, JSON lines out.

Each line is checked; what is no caption of a named object is counted and dropped. Knows transformers; knows nothing
of parts.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dreamcache.core import ids
from dreamcache.core.config.synthesize import CaptionSettings
from dreamcache.core.errors import ModelError
from dreamcache.synthesis.captioner import Captions
from dreamcache.synthesis.models import describe_llm
from dreamcache.synthesis.vocabulary import GENERAL

PROMPT = """\
You write captions for a data set of photographs. Write {count} diverse, descriptive captions of the category \
"{category}". Each caption shows exactly one concrete object, which can be picked up, met or walked around, in a \
context that is meaningful for it: say where it is, what surrounds it, and the light. Use another object and \
another context in every caption. Name no brands and no persons, and write no text that is to be read in the picture.

Answer with {count} lines and nothing else. Each line is one JSON object with the keys "object" (its plain name, one \
to three words, as it stands in the caption), "category" and "caption" (one sentence of 8 to 30 words), like this:
{"object": "teapot", "category": "kitchen", "caption": "a blue teapot steaming on a wooden table beside a rainy window"}
"""

KEYS = ("caption", "object", "category")
LONGEST = {"caption": 600, "object": 60, "category": 60}


class LlmCaptioner:
    """A request is for `per_request` captions of one category; requests go through the categories in turn."""

    def __init__(self, settings: CaptionSettings, *, device: str = "cpu") -> None:
        self.settings, self.device = settings, device
        info = describe_llm(settings)
        self.source = info.name
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(info.location, revision=info.revision)
            model = AutoModelForCausalLM.from_pretrained(
                info.location,
                revision=info.revision,
                use_safetensors=True,
                dtype=getattr(torch, settings.dtype),
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"captions.model '{info.name}': must be a causal language model with safetensors: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
        self.model = model.to(device).eval()
        # Answers are continued at the right end, so padding goes to the left.
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.categories = list(settings.categories or GENERAL)

    def __call__(self, first: int, count: int, seed: int) -> Captions:
        categories = [
            self.categories[number % len(self.categories)] for number in range(first, first + count)
        ]
        answers = self._answer([self._prompt(category) for category in categories], first, seed)
        captions: list[dict[str, str]] = []
        num_bad = 0
        for category, answer in zip(categories, answers, strict=True):
            parsed, bad = parse_answer(answer, category)
            captions += parsed[: self.settings.per_request]
            num_bad += bad
        return Captions(captions=captions, num_bad=num_bad)

    def _prompt(self, category: str) -> str:
        text = self.settings.prompt or PROMPT
        text = text.replace("{count}", str(self.settings.per_request)).replace("{category}", category)
        if not self.tokenizer.chat_template:
            return text
        messages = [{"role": "user", "content": text}]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    @torch.no_grad()
    def _answer(self, prompts: list[str], first: int, seed: int) -> list[str]:
        # A chat template writes the special tokens itself.
        special = not self.tokenizer.chat_template
        inputs = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=special)
        inputs.pop("token_type_ids", None)
        inputs = inputs.to(self.device)
        devices = [self.device] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(ids.seed_of(ids.of_values("llm-captions", seed=seed, first=first)))
            output = self.model.generate(
                **inputs,
                do_sample=True,
                temperature=self.settings.temperature,
                top_p=self.settings.top_p,
                max_new_tokens=self.settings.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        new = output[:, inputs["input_ids"].shape[1] :]
        return list(self.tokenizer.batch_decode(new, skip_special_tokens=True))


def parse_answer(answer: str, category: str) -> tuple[list[dict[str, str]], int]:
    """Captions in an answer, and the number of lines that hold none; an empty line and a code fence are neither.

    A line without a category has the requested one.
    """
    captions: list[dict[str, str]] = []
    num_bad = 0
    for line in answer.splitlines():
        text = line.strip().rstrip(",")
        if not text or text.startswith("```"):
            continue
        caption = _caption(text, category)
        if caption is None:
            num_bad += 1
        else:
            captions.append(caption)
    return captions, num_bad


def _caption(text: str, category: str) -> dict[str, str] | None:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    value = {"category": category, **value}
    if not all(isinstance(value.get(key), str) and value[key].strip() for key in KEYS):
        return None
    caption = {key: " ".join(value[key].split()) for key in KEYS}
    caption["object"], caption["category"] = caption["object"].lower(), caption["category"].lower()
    return caption if all(len(caption[key]) <= LONGEST[key] for key in KEYS) else None
