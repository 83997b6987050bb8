"""Features in memory: hidden states of the frozen U-Net for one reference, and their way to and from stored bytes.

Knows the feature cache's file form; knows nothing of images, adapters or prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dreamcache.core.photo_sets import set_key
from dreamcache.storage.feature_cache import RawTensor, StoredFeatures, from_parquet, to_parquet
from dreamcache.storage.open_store import store_for


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class SubjectFeatures:
    """One subject's features: maps[place] is [C, h, w] on the CPU, in the stored dtype.

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
        maps = list(self.maps.values())
        size = sum(value.numel() * value.element_size() for value in maps)
        dtype = str(maps[0].dtype).removeprefix("torch.") if maps else "no"
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
            maps={place: _to_raw(value) for place, value in self.maps.items()},
            segment_note=self.segment_note,
        )

    @classmethod
    def from_stored(cls, stored: StoredFeatures) -> SubjectFeatures:
        return cls(
            cache_key=stored.cache_key,
            reference_id=stored.reference_id,
            base_fingerprint=stored.base_fingerprint,
            settings=stored.settings,
            maps={place: _from_raw(raw) for place, raw in stored.maps.items()},
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


def _to_raw(value: Tensor) -> RawTensor:
    # numpy has no bfloat16, so the bytes travel as they are, with the dtype's name.
    data = value.contiguous().view(torch.uint8).numpy().tobytes()
    return RawTensor(data=data, dtype=str(value.dtype).removeprefix("torch."), shape=tuple(value.shape))


def _from_raw(raw: RawTensor) -> Tensor:
    # A bytearray, because torch refuses to promise anything on read-only memory.
    return torch.frombuffer(bytearray(raw.data), dtype=getattr(torch, raw.dtype)).reshape(raw.shape)
