"""Training samples by position: sample, transform, noise and conditions (docs/method.md section 4).

Everything random about the sample at a position of the training follows from (seed, position) alone, not from a
worker, a batch or a run. So any number of workers sees the same batches, and a resumed run needs no random state.
Knows sources and transforms; torch and models come later (see `training.loss`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NotRequired

import numpy as np
from numpy.typing import NDArray

from dreamcache.core.config.train import DataSettings, LossSettings, TransformSettings
from dreamcache.core.errors import CatalogError, ImageError, SpecError, StorageError
from dreamcache.core.records import Reference
from dreamcache.model.preprocess import packshot
from dreamcache.storage.photo_faults import STORAGE_WIDE
from dreamcache.training.bad_samples import BadSample, check_bad
from dreamcache.training.decode import DecodedSample, decode_picture
from dreamcache.training.order import SampleOrder
from dreamcache.training.sources import Source, StoredSample, open_source
from dreamcache.training.transform import Floats, ItemShape, Target, as_array, reference_view, target_view

LEVELS, SAMPLE, POSTERIOR = 1, 2, 3  # streams of random numbers, beside `order.ORDER`
VALIDATION_MARGIN = 0.05


def noise_share(seed: int, position: int, global_batch: int, u: float) -> float:
    """The noise level of a position in [0, 1): uniform, and spread evenly over each global batch."""
    step, row = divmod(position, global_batch)
    strata = np.random.default_rng([seed, LEVELS, step]).permutation(global_batch)
    return float((strata[row] + u) / global_batch)


def kept_conditions(settings: LossSettings, u: float) -> tuple[bool, bool]:
    """(text kept, reference kept) by a uniform number u in [0, 1), so that e(0,0), e(cI,0), e(0,cT) are all learned."""
    no_text, both = settings.drop_text, settings.drop_text + settings.drop_both
    return u >= both, u < no_text or u >= both + settings.drop_image


class Samples:
    """Decoded samples of a source by number, with the last opened shards held. One process, one thread.

    bad: samples that could not be used so far, by number; num_opened: how often a shard was opened.
    """

    def __init__(
        self, settings: DataSettings, path: str, *, side: int = 0, has_whole_references: bool = False
    ) -> None:
        """side: what is used of a picture is scaled to so many pixels later; 0 decodes JPEGs at their full size.

        has_whole_references: photos that fill the frame are decoded at their full size, as a job does.
        """
        self.settings, self.path, self.side = settings, path, side
        self.has_whole_references = has_whole_references
        self.source: Source = open_source(path, settings.format)
        self.ends = np.cumsum(self.source.sizes)
        self.bad: dict[int, BadSample] = {}
        self.num_opened = 0
        self._open: dict[int, Sequence[StoredSample]] = {}
        self._live: frozenset[int] | None = None
        if len(self) == 0:
            raise CatalogError(f"data '{path}': must hold at least one sample, got none")

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # a loader opens its own shards

    def spans(self, first: int, end: int | None = None) -> list[tuple[int, int]]:
        """(first, end) of the numbers of each shard that are from `first` to before `end`; empty ones are (n, n)."""
        last = len(self) if end is None else min(end, len(self))
        starts = self.ends - np.asarray(self.source.sizes)
        pairs = zip(starts.tolist(), self.ends.tolist(), strict=True)
        return [(low := min(max(first, start), stop), max(low, min(stop, last))) for start, stop in pairs]

    def shards_of(self, numbers: NDArray[np.int64]) -> frozenset[int]:
        return frozenset(np.unique(np.searchsorted(self.ends, numbers, side="right")).tolist())

    def retain(self, shards: frozenset[int]) -> None:
        """From now on exactly these shards are held once they have been opened."""
        self._live = shards
        for shard in [shard for shard in self._open if shard not in shards]:
            del self._open[shard]

    def read(self, numbers: Iterable[int]) -> tuple[int, DecodedSample]:
        """(number, the sample) of the first of `numbers` that can be used.

        Raises ImageError `too_many_bad_samples` when too many cannot, CatalogError `no_mask` where a mask is required.
        """
        for number in numbers:
            if number in self.bad:
                continue
            try:
                return number, self._decode(number)
            except ImageError as error:
                if error.code in STORAGE_WIDE:  # not the sample's fault: another try may read it
                    raise StorageError(str(error), code=error.code) from error
                where = self._where(number)
                self.bad[number] = BadSample(number=number, where=where, code=error.code, message=str(error))
                check_bad(len(self.bad), len(self), self.settings, self.path, str(error))
        raise ImageError(
            f"data '{self.path}': none of the samples that may stand for one another can be used; see bad_samples.csv",
            code="too_many_bad_samples",
        )

    def _where(self, number: int) -> str:
        shard = int(np.searchsorted(self.ends, number, side="right"))
        return self.source.where(shard, number - int(self.ends[shard]) + self.source.sizes[shard])

    def _shard(self, shard: int) -> Sequence[StoredSample]:
        if shard not in self._open:
            self.num_opened += 1
            if self._live is None:
                while len(self._open) > self.settings.shuffle_shards:
                    del self._open[next(iter(self._open))]
            self._open[shard] = self.source.open(shard)
        return self._open[shard]

    def _decode(self, number: int) -> DecodedSample:
        shard = int(np.searchsorted(self.ends, number, side="right"))
        sample = self._shard(shard)[number - int(self.ends[shard]) + self.source.sizes[shard]]
        # A mask is needed where the reference is cut out by it.
        if sample.mask is None and sample.reference is None and self.settings.on_no_mask != "whole_image":
            kind = CatalogError if self.settings.on_no_mask == "fail" else ImageError
            raise kind(
                f"{sample.where}: needs a mask of its subject or a reference photo; add one, or set "
                f"data.on_no_mask: skip or whole_image",
                code="no_mask",
            )
        is_cut = sample.reference is None
        image, mask = decode_picture(sample.image, sample.mask, sample.where, self.side, is_cut=is_cut)
        photo, photo_mask, reference_id = image, mask, ""
        if sample.reference is not None:
            is_whole = self.has_whole_references and sample.reference_mask is None
            side = 0 if is_whole else self.side
            photo, photo_mask = decode_picture(
                sample.reference, sample.reference_mask, f"{sample.where}, reference", side
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


class Item(Target):
    """One sample as arrays, ready to be collated. reference: pixels [3, S, S] in -1..1; noise: [c, h, w]."""

    reference: Floats
    caption: str
    noise: Floats
    reference_noise: Floats


class TrainItem(Item):
    """reference_id: see `DecodedSample`. share: noise level in 0..1. keep_text, keep_image: whether conditions stay.
    posterior_noise: [2, c, h, w], of the samples of the VAE's posterior for target and reference, where they are taken.
    """

    reference_id: str
    share: np.float32
    keep_text: bool
    keep_image: bool
    posterior_noise: NotRequired[Floats]


class TrainItems:
    """The items of a training by position. bad samples are replaced by others of the same shards."""

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
        subset: int | None = None,
        samples_posterior: bool = False,
    ) -> None:
        """first: samples before it are held out. subset: so many after it are used, None for all.

        Raises SpecError for a subset of more than there are.
        """
        if subset is not None and subset > len(samples) - first:
            held_out = f", {first:,} of them held out" if first else ""
            raise SpecError(
                f"data.subset: must be at most the samples that are trained on, {len(samples) - first:,}, got "
                f"{subset:,}; '{samples.path}' holds {len(samples):,}{held_out}: lower it, or leave it out for all"
            )
        self.samples, self.shape, self.transform, self.loss = samples, shape, transform, loss
        self.seed, self.global_batch, self.samples_posterior = seed, global_batch, samples_posterior
        self.order = SampleOrder(
            samples.spans(first, None if subset is None else first + subset),
            seed=seed,
            global_batch=global_batch,
            window=samples.settings.shuffle_shards,
            shard_bytes=samples.source.shard_bytes,
        )
        self._windows: dict[int, NDArray[np.int64]] = {}
        self._shards: dict[int, frozenset[int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_windows": {}, "_shards": {}}

    @property
    def bad(self) -> dict[int, BadSample]:
        """Samples that could not be used so far."""
        return self.samples.bad

    def __getitem__(self, position: int) -> TrainItem:
        return self.item_of(position, self.sample_at(position))

    def item_of(self, position: int, sample: DecodedSample) -> TrainItem:
        """The item at a position, of the sample there: `sample_at`."""
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
        target = target_view(sample.image, sample.mask, self.shape)
        item: TrainItem = {
            "pixels": target["pixels"],
            "mask": target["mask"],
            "reference": as_array(view),
            "caption": sample.caption,
            "reference_id": sample.reference_id,
            "share": np.float32(share),
            "noise": noise[0],
            "reference_noise": noise[1],
            "keep_text": keep_text,
            "keep_image": keep_image,
        }
        if self.samples_posterior:  # of a stream of its own: all else stays as it is without
            own = np.random.default_rng([self.seed, POSTERIOR, position])
            item["posterior_noise"] = own.standard_normal((2, *self.shape.latent), dtype=np.float32)
        return item

    def sample_at(self, position: int) -> DecodedSample:
        window, index = self.order.window_at(position)
        stream = self.order.stream_of(position)
        if self._windows.get(stream) is not window:
            self._windows[stream], self._shards[stream] = window, self.samples.shards_of(window)
            self.samples.retain(frozenset().union(*self._shards.values()))
        return self.samples.read(self._candidates(window, index, self._shards[stream]))[1]

    def _candidates(self, window: NDArray[np.int64], index: int, shards: frozenset[int]) -> Iterator[int]:
        """The sample, then those that may stand for it: of the same window, which may be the rest of a shard, or of
        the same shards."""
        yield from (int(window[(index + offset) % len(window)]) for offset in range(len(window)))
        for shard in sorted(shards):
            yield from range(*self.order.spans[shard])


class ValidationItems:
    """The validation samples by number, with references as the product encodes them: no augmentation. A sample that
    cannot be used is replaced by another validation sample, never by one that is trained on.
    """

    def __init__(self, samples: Samples, shape: ItemShape, count: int) -> None:
        self.samples, self.shape, self.count = samples, shape, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Item:
        number, sample = self.samples.read((number + offset) % self.count for offset in range(self.count))
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
