"""Input and output of every segmenter. Knows Pillow and numpy; must not know torch or any backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

REASONS: Mapping[str, str] = {
    "opaque": "the photo has no transparent pixel",
    "transparent": "every pixel of the photo is transparent",
    "no_mask_given": "the catalog gives no mask for this photo",
    "empty_mask": "the mask holds no subject",
    "nothing_found": "the detector found no object of this class",
    "no_class_name": "there is no class name to look for",
    "too_little_left": "less than 0.5 % of the frame looks like a subject",
    "no_background": "more than 98 % of the frame looks like the subject",
}
"""Stable codes of "no mask", with what they mean; texts may change, codes do not."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Segment:
    """A segmenter's answer: a mask, or the reason why there is none. No subject is not an error.

    mask: [H, W] bool of the photo's size, True on the subject, with at least one True; or None.
    reason: a key of REASONS where mask is None, else None.
    score: the detector's confidence in [0, 1], where the backend reports one.
    """

    mask: NDArray[np.bool_] | None
    reason: str | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.reason is None):
            raise ValueError("a segment has either a mask or a reason")
        if self.reason is not None and self.reason not in REASONS:
            raise ValueError(f"reason must be one of {', '.join(REASONS)}, got {self.reason!r}")

    @staticmethod
    def of_mask(mask: NDArray[np.bool_], score: float | None = None) -> Segment:
        """A mask; one without any subject becomes the reason "empty_mask"."""
        if not mask.any():
            return Segment(mask=None, reason="empty_mask", score=score)
        return Segment(mask=mask.astype(np.bool_, copy=False), score=score)

    @staticmethod
    def without_mask(reason: str) -> Segment:
        """No mask, and why: a key of REASONS."""
        return Segment(mask=None, reason=reason)

    @property
    def explanation(self) -> str:
        """The reason as a sentence's part, for messages; empty if there is a mask."""
        return REASONS[self.reason] if self.reason is not None else ""


class Segmenter(Protocol):
    """Finds the subject in one upright RGB or RGBA photo.

    class_name: the kind of thing to look for; used by prompted backends only.
    mask: the catalog's mask, mode "L" at the photo's size; used by `file` and `auto` only.
    Raises ModelError if weights or packages are missing, never because of the photo's content.
    """

    def __call__(
        self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None
    ) -> Segment: ...
