"""Pictures of queries through `DreamCachePipeline`, each kept as a file: a stopped run resumes.

Knows the pipeline and a folder; which pictures, `queries` knows.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

from dreamcache import DreamCachePipeline
from dreamcache.core import ids
from dreamcache.core.config import EncodeSettings
from dreamcache.model.features import Features, SubjectFeatures
from recipes.mini.make.compute import device_of
from recipes.mini.measure.queries import Query, Scales, photo

PHOTO_SIDE = 256
_BATCH = 100 if torch.cuda.is_available() else 16


class OutOfTimeError(Exception):
    """The minutes are over; the same command resumes."""


class Generator:
    """Pictures of one model at one group of settings, in a folder named by all that decides them."""

    def __init__(
        self,
        work: Path,
        *,
        weights: str = "mini",
        adapter: str | None = None,
        encode: EncodeSettings = EncodeSettings(),
        scales: Scales = Scales(),
        dtype: str = "float32",
        until: float = float("inf"),
    ) -> None:
        """weights: "mini" or an exported folder. adapter: a folder; None takes the one of the weights.

        until: of time.monotonic(), when to stop. dtype: as `model.dtype` of a job.
        """
        if adapter is None and weights != "mini":
            adapter = str(Path(weights) / "adapter")
        self.pipe = DreamCachePipeline.from_pretrained(
            weights, adapter=adapter, dtype=getattr(torch, dtype), device=str(device_of("auto"))
        )
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

    def with_reference(self, queries: Sequence[Query]) -> list[Image.Image]:
        """One picture per query, from its own design's packshot."""
        return self._generate("reference", queries, lambda query: self.subject(query.seed))

    def text_only(self, queries: Sequence[Query]) -> list[Image.Image]:
        """One picture per query from its words alone: the base model."""
        return self._generate("text", queries, lambda query: None)

    def with_subjects(
        self, arm: str, queries: Sequence[Query], subject: Callable[[Query], Features]
    ) -> list[Image.Image]:
        """One picture per query, from what `subject` gives for it. arm: names the folder of these pictures."""
        return self._generate(arm, queries, subject)

    def subject(self, seed: int) -> SubjectFeatures:
        if seed not in self._subjects:
            picture, _ = photo(seed, PHOTO_SIDE)
            self._subjects[seed] = self.pipe.encode_reference(picture, settings=self.encode)
        return self._subjects[seed]

    @torch.no_grad()
    def through_vae(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """The pictures encoded and decoded: the best that any latent can show."""
        base = self.pipe.base
        decoded: list[Image.Image] = []
        for first in range(0, len(pictures), _BATCH):
            pixels = base.image_processor.preprocess(list(pictures[first : first + _BATCH])).to(
                base.vae.device, base.vae.dtype
            )
            latents = base.vae.encode(pixels).latent_dist.mode()
            decoded += base.image_processor.postprocess(base.vae.decode(latents).sample, output_type="pil")
        return decoded

    def _generate(
        self,
        arm: str,
        queries: Sequence[Query],
        subject: Callable[[Query], Features | None],
    ) -> list[Image.Image]:
        folder = self.folder / arm
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{query.name}.png" for query in queries]
        missing = [i for i, path in enumerate(paths) if not path.exists()]
        for first in range(0, len(missing), _BATCH):
            if time.monotonic() > self.until:
                raise OutOfTimeError(f"{arm}: {len(missing) - first} of {len(queries)} pictures are left")
            part = missing[first : first + _BATCH]
            batch = [queries[i] for i in part]
            images = self.pipe(
                [query.prompt for query in batch],
                [subject(query) for query in batch],
                generator=[torch.Generator().manual_seed(query.noise_seed) for query in batch],
                **self.scales.as_dict(),
            ).images
            for i, picture in zip(part, images, strict=True):
                partial = paths[i].with_suffix(".partial")
                picture.save(partial, "PNG")
                partial.rename(paths[i])
        return [Image.open(path).convert("RGB") for path in paths]
