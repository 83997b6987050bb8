"""Features in memory: hidden states of the frozen U-Net for one reference, and their way to and from stored bytes.

Knows the feature cache's file form; knows nothing of images, adapters or prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreamcache.core.config import EncodeSettings
from dreamcache.core.photo_sets import set_key
from dreamcache.model.ground import ground_of
from dreamcache.storage import packed
from dreamcache.storage.feature_cache import RawTensor, StoredFeatures, from_parquet, to_parquet
from dreamcache.storage.feature_check import form_of
from dreamcache.storage.open_store import store_for


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class SubjectFeatures:
    """One subject's features: maps[place] is [C, h, w] on the CPU, in the stored dtype; `StoredMaps` for codes.

    cache_key identifies them; base_fingerprint names the only base model they can be used with. segment_note: why no
    subject was cut out of the photo, a key of `segment.REASONS`; None where one was.

    >>> subject = pipe.encode_reference(photo)
    >>> subject.maps["mid_block.attentions.0"].shape
    torch.Size([192, 4, 4])
    """

    cache_key: str
    reference_id: str
    base_fingerprint: str
    maps: Mapping[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    segment_note: str | None = None

    def __repr__(self) -> str:
        maps = list(self.to_stored().maps.values())
        size = sum(len(raw.data) for raw in maps)
        dtype = maps[0].dtype if maps else "no"
        return (
            f"SubjectFeatures({self.cache_key[:12]}, base {self.base_fingerprint[:12]}, {len(maps)} places, "
            f"{size / 1e3:.1f} kB of {dtype})"
        )

    def save(self, uri: str) -> None:
        """Writes one Parquet object at a local or s3:// path.

        >>> subject.save(f"{folder}/mug.parquet")
        """
        store_for(uri).write(uri, to_parquet(self.to_stored()))

    @classmethod
    def load(cls, uri: str) -> SubjectFeatures:
        """Reads what `save` wrote. Raises CacheError when damaged.

        >>> subject.save(f"{folder}/mug.parquet")
        >>> SubjectFeatures.load(f"{folder}/mug.parquet").cache_key == subject.cache_key
        True
        """
        return cls.from_stored(from_parquet(store_for(uri).read(uri)))

    def to_stored(self) -> StoredFeatures:
        return StoredFeatures(
            cache_key=self.cache_key,
            reference_id=self.reference_id,
            base_fingerprint=self.base_fingerprint,
            settings=dict(self.settings),
            maps=_raw_maps(self.maps),
            segment_note=self.segment_note,
        )

    @classmethod
    def from_stored(cls, stored: StoredFeatures) -> SubjectFeatures:
        return cls(
            cache_key=stored.cache_key,
            reference_id=stored.reference_id,
            base_fingerprint=stored.base_fingerprint,
            settings=stored.settings,
            maps=_maps_of(stored.maps),
            segment_note=stored.segment_note,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PhotoSet:
    """Several photos of one subject, each encoded by itself, in the order in which a model reads them.

    For adapters the order has no meaning. Raises ValueError for none, or for photos of several base models.

    >>> both = PhotoSet(photos=(pipe.encode_reference(photo), pipe.encode_reference(photo.rotate(90))))
    >>> pipe("a photo of a mug on the beach", both, num_inference_steps=2).images[0].size
    (64, 64)
    """

    photos: tuple[SubjectFeatures, ...]

    def __post_init__(self) -> None:
        if len({photo.base_fingerprint for photo in self.photos}) != 1:
            raise ValueError("photos must be one or more, of one base model; encode them with one pipeline")

    @property
    def cache_key(self) -> str:
        """Names the photos and their order."""
        return set_key([photo.cache_key for photo in self.photos])


Features = SubjectFeatures | PhotoSet
"""What a model reads of one subject."""


def photos_of(features: Features) -> tuple[SubjectFeatures, ...]:
    """Of each photo, in order."""
    return features.photos if isinstance(features, PhotoSet) else (features,)


class StoredMaps(Mapping[str, Tensor]):
    """Maps as the cache holds them; a place is unpacked, to float32, when it is read.

    Features that were encoded just now and those that were read from the cache are so the same numbers.
    """

    def __init__(self, raw: Mapping[str, RawTensor]) -> None:
        self.raw = dict(raw)

    def __getitem__(self, place: str) -> Tensor:
        raw = self.raw[place]
        if raw.dtype in packed.FORMS:
            return torch.from_numpy(packed.unpack(raw.data, raw.dtype, raw.shape))
        return _from_raw(raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)


def stored_maps(
    maps: Mapping[str, Tensor], settings: EncodeSettings, subject: NDArray[np.bool_] | None = None
) -> Mapping[str, Tensor]:
    """maps[place], [C, h, w], as they are stored: of the settings' dtype, on the CPU.

    subject: [H, W], where the encoded picture shows the subject; None for everywhere.
    """
    if settings.dtype not in packed.CODES:
        dtype = getattr(torch, settings.dtype)
        return {place: value.to("cpu", dtype) for place, value in maps.items()}
    return StoredMaps(
        {place: _packed(value.to("cpu", torch.float32), settings, subject) for place, value in maps.items()}
    )


def _packed(value: Tensor, settings: EncodeSettings, subject: NDArray[np.bool_] | None) -> RawTensor:
    values, ground = value.contiguous().numpy(), None
    if settings.ground_vectors:
        ground = ground_of(values, subject, settings.ground_vectors)
    data = packed.pack(values, settings.dtype, ground)
    return RawTensor(data=data, dtype=form_of(settings), shape=tuple(value.shape))


def _raw_maps(maps: Mapping[str, Tensor]) -> Mapping[str, RawTensor]:
    if isinstance(maps, StoredMaps):
        return maps.raw
    return {place: _to_raw(value) for place, value in maps.items()}


def _maps_of(raw: Mapping[str, RawTensor]) -> Mapping[str, Tensor]:
    if any(one.dtype in packed.FORMS for one in raw.values()):
        return StoredMaps(raw)
    return {place: _from_raw(one) for place, one in raw.items()}


def _to_raw(value: Tensor) -> RawTensor:
    # numpy has no bfloat16, so the bytes travel as they are, with the dtype's name.
    data = value.contiguous().view(torch.uint8).numpy().tobytes()
    return RawTensor(data=data, dtype=str(value.dtype).removeprefix("torch."), shape=tuple(value.shape))


def _from_raw(raw: RawTensor) -> Tensor:
    # A bytearray, because torch refuses to promise anything on read-only memory.
    return torch.frombuffer(bytearray(raw.data), dtype=getattr(torch, raw.dtype)).reshape(raw.shape)
