"""Stage 1, captions: numbered requests in, captions with their object and category out (docs/method.md section 5.1).

    settings -> plan (parts of requests) -> create_captioner -> Captioner(requests) -> rows of CAPTIONS

The captions of a request follow from settings, seed and its numbers alone, so a larger count keeps the earlier ones.
Knows templates; the LLM is in `captions_llm`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from dreamcache.core import ids
from dreamcache.core.config.synthesize import CaptionSettings
from dreamcache.synthesis.captioner import Captioner, Captions
from dreamcache.synthesis.parts import StagePart, part_of, to_bytes
from dreamcache.synthesis.vocabulary import vocabulary_of

STAGE = "captions"
PART = 250
"""Captions of the templates in one part."""

CAPTIONS = pa.schema(
    [(name, pa.string()) for name in ("caption_id", "caption", "object", "category", "source")]
)


class TemplateCaptioner:
    """A sentence, an object and a context, chosen by the caption's number. A request is one caption."""

    source = "templates"

    def __init__(self, settings: CaptionSettings) -> None:
        self.words = vocabulary_of(settings)
        self.objects = [(name, thing) for name, things in self.words.categories.items() for thing in things]

    def __call__(self, first: int, count: int, seed: int) -> Captions:
        return Captions(captions=[self._caption(number, seed) for number in range(first, first + count)])

    def _caption(self, number: int, seed: int) -> dict[str, str]:
        rng = np.random.default_rng((seed, number, 0xCA9))
        category, thing = self.objects[int(rng.integers(len(self.objects)))]
        context = self.words.contexts[int(rng.integers(len(self.words.contexts)))]
        sentence = self.words.sentences[int(rng.integers(len(self.words.sentences)))]
        text = sentence.replace("{object}", thing).replace("{context}", context)
        return {"caption": _with_article(text, thing), "object": thing, "category": category}


def plan(settings: CaptionSettings, *, seed: int, fingerprint: str, num_rounds: int = 1) -> list[StagePart]:
    """The parts of all captions. fingerprint: of the LLM, "" without. num_rounds: of its requests."""
    decides = {"settings": settings.identity(), "seed": seed, "fingerprint": fingerprint}
    if settings.backend == "templates":
        total, size = settings.count, PART
    else:
        total, size = math.ceil(settings.count / settings.per_request) * num_rounds, settings.batch_size
    spans = [(first, min(size, total - first)) for first in range(0, total, size)]
    return [part_of(STAGE, {"first": first, "count": count}, **decides) for first, count in spans]


def create_captioner(settings: CaptionSettings, *, device: str = "cpu") -> Captioner:
    """The captioner of the settings' backend. Raises ModelError when its model cannot be loaded."""
    if settings.backend == "templates":
        return TemplateCaptioner(settings)
    from dreamcache.synthesis.captions_llm import LlmCaptioner

    return LlmCaptioner(settings, device=device)


def make_part(captioner: Captioner, part: StagePart, seed: int) -> bytes:
    """The bytes of one part of captions."""
    answer: Captions = captioner(part.work["first"], part.work["count"], seed)
    rows = [{**one, "caption_id": caption_id(one), "source": captioner.source} for one in answer.captions]
    return to_bytes(rows, CAPTIONS, num_bad=str(answer.num_bad))


def caption_id(caption: Mapping[str, str]) -> str:
    """Hash of the caption's content, whichever captioner wrote it."""
    return ids.of_values("caption", **{name: caption[name] for name in ("caption", "object", "category")})


def _with_article(text: str, thing: str) -> str:
    """ "an armchair" where the sentence says "a"."""
    if thing[:1].lower() in "aeio" or thing.startswith("umbrella"):
        return text.replace(f"a {thing}", f"an {thing}")
    return text
