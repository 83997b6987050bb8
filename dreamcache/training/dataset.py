"""Training samples by position: sample, transform, noise and conditions (docs/method.md section 4).

Everything random about the sample at a position of the training follows from (seed, position) alone, not from a
worker, a batch or a run. So any number of workers sees the same batches, and a resumed run needs no random state.
Knows sources and transforms; torch and models come later (see `training.loss`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.train import DataSettings, LossSettings, TransformSettings
from dreamcache.core.errors import CatalogError, ImageError
from dreamcache.core.images import decode_image, decode_mask
from dreamcache.core.lru import LRU
from dreamcache.core.records import Reference
from dreamcache.model.preprocess import packshot
from dreamcache.training.sources import Source, StoredSample, open_source
from dreamcache.training.transform import Floats, ItemShape, Target, as_array, reference_view, target_view

ORDER, LEVELS, SAMPLE = range(3)  # streams of random numbers
TRIES = 10
VALIDATION_MARGIN = 0.05


def epoch_order(sizes: Sequence[int], first: int, seed: int, epoch: int, window: int) -> NDArray[np.int64]:
    """The samples of an epoch by number: shards shuffled, then the samples of each `window` shards among them.

    Samples below `first` are omitted. So only `window` shards need to be open at a time.
    """
    rng = np.random.default_rng([seed, ORDER, epoch])
    ends = np.cumsum(sizes)
    shards = rng.permutation(len(sizes))
    parts = []
    for start in range(0, len(shards), window):
        group = [np.arange(max(first, ends[s] - sizes[s]), ends[s]) for s in shards[start : start + window]]
        parts.append(rng.permutation(np.concatenate(group)))
    return np.concatenate(parts).astype(np.int64)


def noise_share(seed: int, position: int, global_batch: int, u: float) -> float:
    """The noise level of a position in [0, 1): uniform, and spread evenly over each global batch."""
    step, row = divmod(position, global_batch)
    strata = np.random.default_rng([seed, LEVELS, step]).permutation(global_batch)
    return float((strata[row] + u) / global_batch)


def kept_conditions(settings: LossSettings, u: float) -> tuple[bool, bool]:
    """(text kept, reference kept) by a uniform number u in [0, 1), so that e(0,0), e(cI,0), e(0,cT) are all learned."""
    no_text, both = settings.drop_text, settings.drop_text + settings.drop_both
    return u >= both, u < no_text or u >= both + settings.drop_image


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodedSample:
    """A sample's pictures, upright, and its caption; masks are [H, W] bool.

    reference: the picture of its reference; `image` itself where the sample brings none. reference_id: names a
    reference that fills the frame as it is, "" for one that is cut out and placed at random.
    """

    image: Image.Image
    mask: NDArray[np.bool_] | None
    caption: str
    reference: Image.Image
    reference_mask: NDArray[np.bool_] | None
    reference_id: str = ""

    @property
    def framed(self) -> bool:
        """Whether the reference is a photo of its own that needs no cutting out."""
        return bool(self.reference_id)


class Samples:
    """Decoded samples of a source by number, with a cache of the last opened shards. One process, one thread."""

    def __init__(self, settings: DataSettings, path: str) -> None:
        self.settings = settings
        self.source: Source = open_source(path, settings.format)
        self.ends = np.cumsum(self.source.sizes)
        self.bad = 0
        self._open: LRU[int, Sequence[StoredSample]] = LRU(settings.shuffle_shards + 1)
        if len(self) == 0:
            raise CatalogError(f"data '{path}': must hold at least one sample, got none")

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def read(self, number: int) -> DecodedSample:
        """The sample, decoded. One that cannot be used is replaced by the next.

        Raises ImageError when too many cannot.
        """
        for offset in range(TRIES):
            try:
                return self._decode((number + offset) % len(self))
            except ImageError as error:
                self.bad += 1
                if self.bad > self.settings.max_bad_samples or offset == TRIES - 1:
                    raise ImageError(
                        f"{error}; the {self.bad}. sample that cannot be used, data.max_bad_samples is "
                        f"{self.settings.max_bad_samples}",
                        code=error.code,
                    ) from error
        raise AssertionError("unreachable")

    def _decode(self, number: int) -> DecodedSample:
        shard = int(np.searchsorted(self.ends, number, side="right"))
        samples = self._open.get_or(shard, lambda: self.source.open(shard))
        sample = samples[number - int(self.ends[shard]) + self.source.sizes[shard]]
        # A mask is needed where the reference is cut out by it.
        if sample.mask is None and sample.reference is None and self.settings.on_no_mask == "fail":
            raise ImageError(
                f"{sample.where}: needs a mask of its subject or a reference photo; add one, or set "
                f"data.on_no_mask: whole_image",
                code="no_mask",
            )
        image, mask = _picture(sample.image, sample.mask, sample.where)
        photo, photo_mask, reference_id = image, mask, ""
        if sample.reference is not None:
            photo, photo_mask = _picture(
                sample.reference, sample.reference_mask, f"{sample.where}, reference"
            )
            if photo_mask is None:
                reference_id = Reference.id_of(sample.reference, None)
        return DecodedSample(
            image=image,
            mask=mask,
            caption=sample.caption,
            reference=photo,
            reference_mask=photo_mask,
            reference_id=reference_id,
        )


def _picture(data: bytes, mask: bytes | None, where: str) -> tuple[Image.Image, NDArray[np.bool_] | None]:
    """Upright image and its mask. Raises ImageError."""
    image = decode_image(data, where=where, limits=ImageLimits())
    if mask is None:
        return image, None
    decoded = decode_mask(mask, where=f"{where}, mask", limits=ImageLimits(), size=image.size)
    marked = np.asarray(decoded) >= 128
    if not marked.any():
        raise ImageError(f"{where}: its mask is empty; fix or remove it", code="empty_mask")
    return image, marked


class Item(Target):
    """One sample as arrays, ready to be collated. reference: pixels [3, S, S] in -1..1; noise: [c, h, w]."""

    reference: Floats
    caption: str
    noise: Floats
    reference_noise: Floats


class TrainItem(Item):
    """reference_id: see `DecodedSample`. share: noise level in 0..1. keep_text, keep_image: whether conditions stay."""

    reference_id: str
    share: np.float32
    keep_text: bool
    keep_image: bool


class TrainItems:
    """The items of a training by position; `torch.utils.data` takes it as a dataset."""

    def __init__(
        self,
        samples: Samples,
        shape: ItemShape,
        *,
        transform: TransformSettings,
        loss: LossSettings,
        seed: int,
        global_batch: int,
        first: int = 0,
    ) -> None:
        self.samples, self.shape, self.transform, self.loss = samples, shape, transform, loss
        self.seed, self.global_batch, self.first = seed, global_batch, first
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def __getitem__(self, position: int) -> TrainItem:
        sample = self.samples.read(self._number(position))
        rng = np.random.default_rng([self.seed, SAMPLE, position])
        share = noise_share(self.seed, position, self.global_batch, rng.random())
        keep_text, keep_image = kept_conditions(self.loss, rng.random())
        noise = rng.standard_normal((2, *self.shape.latent), dtype=np.float32)
        view = reference_view(
            sample.reference,
            sample.reference_mask,
            self.transform,
            size=self.shape.size,
            rng=rng,
            framed=sample.framed,
        )
        return {
            **target_view(sample.image, sample.mask, self.shape),
            "reference": as_array(view),
            "caption": sample.caption,
            "reference_id": sample.reference_id,
            "share": np.float32(share),
            "noise": noise[0],
            "reference_noise": noise[1],
            "keep_text": keep_text,
            "keep_image": keep_image,
        }

    def _number(self, position: int) -> int:
        epoch, index = divmod(position, len(self.samples) - self.first)
        if self._order is None or self._order[0] != epoch:
            sizes, window = self.samples.source.sizes, self.samples.settings.shuffle_shards
            self._order = epoch, epoch_order(sizes, self.first, self.seed, epoch, window)
        return int(self._order[1][index])


class ValidationItems:
    """The validation samples by number, with references as the product encodes them: no augmentation."""

    def __init__(self, samples: Samples, shape: ItemShape, count: int) -> None:
        self.samples, self.shape, self.count = samples, shape, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Item:
        sample = self.samples.read(number)
        noise = np.random.default_rng([0, SAMPLE, number]).standard_normal(
            (2, *self.shape.latent), np.float32
        )
        view = packshot(
            sample.reference, sample.reference_mask, size=self.shape.size, margin=VALIDATION_MARGIN
        )
        return {
            **target_view(sample.image, sample.mask, self.shape),
            "reference": as_array(view),
            "caption": sample.caption,
            "noise": noise[0],
            "reference_noise": noise[1],
        }
