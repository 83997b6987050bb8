"""An imperceptible mark of 32 bits in the pixels: RivaGAN's two networks as ONNX files (optional extra).

    pixels, bits --encoder--> pixels that look the same        file --decoder, at three scales--> bits, chance

It carries who generated an image, not which one: the operator's own bits, the same in all images. Anyone who knows the
bits can write them, and who has the network can blur them. Knows pixels and networks; nothing of files' metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from math import comb
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamcache.core import ids
from dreamcache.core.config.provenance import InvisibleMarkSettings
from dreamcache.core.errors import ImageError
from dreamcache.core.images import blue_first
from dreamcache.storage.models.onnx_file import Network, OnnxFile, onnx_file, open_session

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

BITS = 32
LEAST_AGREEING = 28
"""Bits that must agree for a verdict. Of an image without mark: a chance of 9.7e-6 at one scale."""
SCALES = (1.0, 4 / 3, 2.0)
"""At which a file is decoded: a smaller copy of a marked image is enlarged again."""
LEAST_SIDE = 64
MOST_SIDE = 768
"""Pixels that the decoder sees, from the middle: it takes the mean over all, and an image may be of any size."""
THRESHOLD = 0.52
"""Of a bit; the package's own."""
SETTING = "provenance.invisible.model"
CODE = "mark_missing"
EXTRA = "invisible"
VERSION = 1
"""Raised when a release writes other pixels for the same networks and bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkFinding:
    """The bits read from a picture, at the scale where most of them are the operator's.

    bits: 8 hexadecimal digits. agreeing: of 32. chance: that as many agree, at any scale, in a picture without mark,
    if its bits were thrown.
    """

    bits: str
    operator: str
    agreeing: int
    chance: float

    @property
    def is_operators(self) -> bool:
        return self.agreeing >= LEAST_AGREEING


class InvisibleMark:
    """The mark of one operator. Raises ModelError `mark_missing` for files that cannot be used."""

    def __init__(self, settings: InvisibleMarkSettings) -> None:
        self.bits = settings.bits
        self._encoder_file = _file(settings, "encoder")
        self._decoder_file = _file(settings, "decoder")

    @cached_property
    def _encoder(self) -> Any:
        return open_session(self._encoder_file, setting=SETTING, code=CODE, extra=EXTRA, threads=1)

    @cached_property
    def _decoder(self) -> Any:
        return open_session(self._decoder_file, setting=SETTING, code=CODE, extra=EXTRA)

    def open(self) -> None:
        """Loads the decoder. Raises ModelError `mark_missing`."""
        _ = self._decoder

    def apply(self, rgb: Pixels) -> Pixels:
        """The marked pixels of uint8 [height, width, 3]: the same on every call.

        One thread: sums in another order would round some pixels differently. Raises ImageError for a small image.
        """
        if min(rgb.shape[:2]) < LEAST_SIDE:
            raise ImageError(
                f"provenance.invisible: an image must have at least {LEAST_SIDE} pixels a side to carry a mark, got "
                f"{rgb.shape[1]} x {rgb.shape[0]}; leave the setting out"
            )
        values = np.array([[int(bit) for bit in f"{int(self.bits, 16):032b}"]], np.float32)
        [output] = self._encoder.run(None, {"frame": _frame(rgb), "data": values})
        marked = (np.clip(output[0, :, 0], -1, 1).transpose(1, 2, 0)[..., ::-1] + 1) * 127.5
        return np.ascontiguousarray(marked.astype(np.uint8))

    def find(self, rgb: Pixels) -> MarkFinding:
        """What the decoder reads in uint8 [height, width, 3]."""
        own, best, agreeing = int(self.bits, 16), 0, -1
        for scaled in _scaled(rgb):
            bits = self._read(scaled)
            if BITS - (bits ^ own).bit_count() > agreeing:
                best, agreeing = bits, BITS - (bits ^ own).bit_count()
            if agreeing >= LEAST_AGREEING:
                break
        chance = chance_of(agreeing, len(SCALES))
        return MarkFinding(bits=f"{best:08x}", operator=self.bits, agreeing=agreeing, chance=chance)

    def _read(self, rgb: Pixels) -> int:
        [output] = self._decoder.run(None, {"frame": _frame(rgb)})
        return int("".join("1" if value > THRESHOLD else "0" for value in output[0]), 2)


def mark_identity(settings: InvisibleMarkSettings) -> str:
    """sha256 of all that decides the marked pixels, for item ids. Raises ModelError `mark_missing`."""
    encoder = _file(settings, "encoder").sha256
    return ids.of_values("invisible-mark", version=VERSION, encoder=encoder, bits=settings.bits)


def networks(settings: InvisibleMarkSettings) -> tuple[Network, ...]:
    """To be tried before a job starts. Raises ModelError `mark_missing`."""
    network = partial(Network, setting=SETTING, code=CODE, extra=EXTRA)
    return (
        network(file=_file(settings, "encoder"), dimensions=(5, 2)),
        network(file=_file(settings, "decoder"), dimensions=(5,)),
    )


def chance_of(agreeing: int, readings: int = 1) -> float:
    """That at least so many of 32 thrown bits agree with given ones, in one of several readings."""
    one: float = sum(comb(BITS, number) for number in range(agreeing, BITS + 1)) / (1 << BITS)
    return min(1.0, readings * one)


def _file(settings: InvisibleMarkSettings, part: str) -> OnnxFile:
    return onnx_file(settings.model, f"rivagan_{part}.onnx", setting=SETTING, code=CODE)


def _frame(rgb: Pixels) -> Floats:
    """float32 [1, 3, 1, height, width] in -1..1, blue first, as the package feeds OpenCV's images."""
    return blue_first(rgb)[None, :, None]


def _scaled(rgb: Pixels) -> Iterator[Pixels]:
    """The picture's middle at each scale; very small pictures are enlarged until the networks can run."""
    least = LEAST_SIDE / max(1, min(rgb.shape[:2]))
    for scale in SCALES:
        factor = max(scale, least)
        limit = max(1, round(MOST_SIDE / factor))
        height, width = rgb.shape[:2]
        top, left = max(0, (height - limit) // 2), max(0, (width - limit) // 2)
        part: Any = np.ascontiguousarray(rgb[top : top + limit, left : left + limit])
        if factor != 1.0:
            size = (
                max(LEAST_SIDE, round(part.shape[1] * factor)),
                max(LEAST_SIDE, round(part.shape[0] * factor)),
            )
            part = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
        yield part
