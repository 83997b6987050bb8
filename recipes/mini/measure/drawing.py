"""Drawing what is asked through `DreamCachePipeline`, each picture kept as a file: a stopped run goes on.

Knows the pipeline and a folder. What is asked, `questions` knows; what is seen in the pictures, others.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

from dreamcache import DreamCachePipeline
from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.model.features import SubjectFeatures
from recipes.mini.measure.questions import Question, Scales, photo

PHOTO_SIDE = 256
_BATCH = 16


class OutOfTimeError(Exception):
    """The minutes given are over; the same command goes on."""


class Artist:
    """Pictures of one model at one group of settings, in a folder named by all that decides them."""

    def __init__(
        self,
        work: Path,
        *,
        adapter: str | None = None,
        encode: EncodeSettings = EncodeSettings(),
        scales: Scales = Scales(),
        dtype: str = "float32",
        until: float = float("inf"),
    ) -> None:
        """adapter: a folder, None takes the shipped one. until: of time.monotonic(), when to stop.

        dtype: as `model.dtype` of a job; bfloat16 draws twice as fast where the processor knows it.
        """
        self.pipe = DreamCachePipeline.from_pretrained("mini", adapter=adapter, dtype=getattr(torch, dtype))
        self.encode, self.scales, self.until = encode, scales, until
        info = self.pipe.adapter_info
        assert info is not None
        self.weights = {
            "base": self.pipe.info.fingerprint[:16],
            "adapter": info.fingerprint[:16],
            "adapter_step": info.step,
            "dtype": dtype,
        }
        decides = {**self.weights, **scales.as_dict(), "encode": encode.as_dict()}
        self.folder = work / "pictures" / ids.of_values("measured", **decides)[:16]
        self._subjects: dict[int, SubjectFeatures] = {}

    def with_reference(self, questions: Sequence[Question]) -> list[Image.Image]:
        """One picture per question, from its own design's packshot."""
        return self._draw("reference", questions, lambda question: self.subject(question.seed))

    def text_only(self, questions: Sequence[Question]) -> list[Image.Image]:
        """One picture per question from its words alone: the base model."""
        return self._draw("text", questions, lambda question: None)

    def subject(self, seed: int) -> SubjectFeatures:
        if seed not in self._subjects:
            picture, _ = photo(seed, PHOTO_SIDE)
            self._subjects[seed] = self.pipe.encode_reference(picture, settings=self.encode)
        return self._subjects[seed]

    @torch.no_grad()
    def through_vae(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """The pictures encoded and decoded: the best that any latent can show."""
        base = self.pipe.base
        made = []
        for first in range(0, len(pictures), _BATCH):
            pixels = base.image_processor.preprocess(list(pictures[first : first + _BATCH])).to(
                base.vae.dtype
            )
            latents = base.vae.encode(pixels).latent_dist.mode()
            made += base.image_processor.postprocess(base.vae.decode(latents).sample, output_type="pil")
        return made

    def _draw(
        self,
        arm: str,
        questions: Sequence[Question],
        subject: Callable[[Question], SubjectFeatures | None],
    ) -> list[Image.Image]:
        folder = self.folder / arm
        folder.mkdir(parents=True, exist_ok=True)
        places = [folder / f"{question.name}.png" for question in questions]
        todo = [i for i, place in enumerate(places) if not place.exists()]
        for first in range(0, len(todo), _BATCH):
            if time.monotonic() > self.until:
                raise OutOfTimeError(f"{arm}: {len(todo) - first} of {len(questions)} pictures are left")
            part = todo[first : first + _BATCH]
            asked = [questions[i] for i in part]
            drawn = self.pipe(
                [question.prompt for question in asked],
                [subject(question) for question in asked],
                generator=[torch.Generator().manual_seed(question.noise_seed) for question in asked],
                **self.scales.as_dict(),
            ).images
            for i, picture in zip(part, drawn, strict=True):
                partial = places[i].with_suffix(".partial")
                picture.save(partial, "PNG")
                partial.rename(places[i])
        return [Image.open(place).convert("RGB") for place in places]
