"""Print on a picture: lines of text with their position and certainty, by the two networks of PaddleOCR as ONNX files.

    picture --detector--> probability of print --boxes--> crops 48 px high --recognizer--> letters by CTC

Runs `*det*.onnx` and `*rec*.onnx` of the package rapidocr-onnxruntime, with its thresholds. A box is a rectangle that
is widened by as much as the package's polygons are, so neither pyclipper nor shapely is needed. Knows pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamcache.core import ids
from dreamcache.core.errors import ModelError
from dreamcache.core.images import blue_first
from dreamcache.storage.models.onnx_file import Network, OnnxFile, onnx_file, open_session

SETTING = "quality.ocr"
CODE = "ocr_missing"
EXTRA = "ocr"
LETTERS = "character"
"""Metadata of the recognizer: its classes."""
LEAST_SIDE, MOST_SIDE = 736, 1600
"""Of the picture that the detector sees, pixels."""
PRINT, BOX = 0.3, 0.5
"""Least probability of a pixel, and least mean in a box."""
WIDER = 1.6
MAX_LINES = 100
HEIGHT = 48
MOST_WIDTH = 1600
UPRIGHT = 1.5
"""A crop so many times higher than wide is text turned by 90 degrees."""

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of print. certainty: mean probability of its letters. height: pixels of the picture."""

    text: str
    certainty: float
    height: float
    center: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class OcrModels:
    """The two files of a folder."""

    detector: OnnxFile
    recognizer: OnnxFile

    @property
    def identity(self) -> str:
        return ids.of_values("ocr", detector=self.detector.sha256, recognizer=self.recognizer.sha256)

    def networks(self) -> tuple[Network, ...]:
        """To be tried before a job starts."""
        network = partial(Network, setting=SETTING, code=CODE, extra=EXTRA, dimensions=(4,))
        return network(file=self.detector), network(file=self.recognizer, metadata=(LETTERS,))


def find_ocr(folder: str) -> OcrModels:
    """The networks in a folder. Raises ModelError `ocr_missing`."""
    return OcrModels(
        detector=onnx_file(folder, "*det*.onnx", setting=SETTING, code=CODE),
        recognizer=onnx_file(folder, "*rec*.onnx", setting=SETTING, code=CODE),
    )


class Ocr:
    """Reads pictures; loads its networks when they are first used."""

    def __init__(self, models: OcrModels) -> None:
        self.models = models

    @cached_property
    def _detector(self) -> Any:
        return open_session(self.models.detector, setting=SETTING, code=CODE, extra=EXTRA)

    @cached_property
    def _recognizer(self) -> tuple[Any, tuple[str, ...]]:
        session = open_session(self.models.recognizer, setting=SETTING, code=CODE, extra=EXTRA)
        return session, _letters(
            session.get_modelmeta().custom_metadata_map, str(self.models.recognizer.path)
        )

    def open(self) -> None:
        """Loads both networks. Raises ModelError `ocr_missing`."""
        _ = self._detector, self._recognizer

    def read(self, rgb: Pixels) -> list[Line]:
        """Lines of uint8 [height, width, 3], the largest first; those without a letter have no text.

        Print is looked for at MOST_SIDE and read at most at twice that, whatever the picture's size.
        """
        scale = min(1.0, 2 * MOST_SIDE / max(rgb.shape[:2]))
        if scale == 1.0:
            return [self._line(rgb, box) for box in self._boxes(rgb)]
        size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
        small: Any = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        lines = [self._line(small, box) for box in self._boxes(small)]
        return [
            replace(line, height=line.height / scale, center=(line.center[0] / scale, line.center[1] / scale))
            for line in lines
        ]

    def _boxes(self, rgb: Pixels) -> list[Floats]:
        """[4, 2] corners in the picture's pixels, each from its upper left one clockwise."""
        height, width = rgb.shape[:2]
        scale = min(max(1.0, LEAST_SIDE / min(height, width)), MOST_SIDE / max(height, width))
        size = tuple(max(32, round(side * scale / 32) * 32) for side in (width, height))
        small: Any = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)
        session = self._detector
        [output] = session.run(None, {session.get_inputs()[0].name: blue_first(small)[None]})
        chance: Floats = output[0, 0]
        found = cv2.dilate((chance > PRINT).astype(np.uint8), np.ones((2, 2), np.uint8))
        contours, _ = cv2.findContours(found, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        ranked = sorted(contours, key=cv2.contourArea, reverse=True)[:MAX_LINES]
        stretch = np.array([width / size[0], height / size[1]], np.float32)
        boxes = [_box(contour, chance) for contour in ranked]
        return [(box * stretch).astype(np.float32) for box in boxes if box is not None]

    def _line(self, rgb: Pixels, box: Floats) -> Line:
        wide = max(1.0, float(np.linalg.norm(box[1] - box[0])))
        high = max(1.0, float(np.linalg.norm(box[3] - box[0])))
        corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
        crop = cv2.warpPerspective(
            rgb, cv2.getPerspectiveTransform(box, corners), (round(wide), round(high)),
            flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        if high >= UPRIGHT * wide:
            crop, wide, high = np.rot90(crop), high, wide
        session, letters = self._recognizer
        width = min(MOST_WIDTH, max(16, round(HEIGHT * wide / high)))
        small: Any = cv2.resize(crop, (width, HEIGHT), interpolation=cv2.INTER_LINEAR)
        pixels = blue_first(small)
        [output] = session.run(None, {session.get_inputs()[0].name: pixels[None]})
        text, certainty = _decoded(output[0], letters)
        x, y = (float(value) for value in box.mean(axis=0))
        return Line(text=text, certainty=certainty, height=high, center=(x, y))


def _box(contour: Any, chance: Floats) -> Floats | None:
    """The widened rectangle around a contour, None for a small or improbable one."""
    (x, y), (wide, high), turn = cv2.minAreaRect(contour)
    if min(wide, high) < 3:
        return None
    left, top, columns, rows = cv2.boundingRect(contour)
    inside = np.zeros((rows, columns), np.uint8)
    cv2.drawContours(inside, [contour - [left, top]], -1, 1, -1)
    if float(chance[top : top + rows, left : left + columns][inside > 0].mean()) < BOX:
        return None
    margin = 2 * wide * high * WIDER / (2 * (wide + high))
    corners = cv2.boxPoints(((x, y), (wide + margin, high + margin), turn))
    by_sum, by_difference = corners.sum(axis=1), corners[:, 1] - corners[:, 0]
    order = [by_sum.argmin(), by_difference.argmin(), by_sum.argmax(), by_difference.argmax()]
    return corners[order].astype(np.float32) if len(set(order)) == 4 else None


def _letters(metadata: Mapping[str, str], path: str) -> tuple[str, ...]:
    """The recognizer's classes: none, its own list, space."""
    if LETTERS not in metadata:
        raise ModelError(
            f"{SETTING}: '{path}' must state its letters in its metadata ({LETTERS}), has none; use rapidocr's file",
            code=CODE,
        )
    return ("", *metadata[LETTERS].splitlines(), " ")


def _decoded(steps: Floats, letters: tuple[str, ...]) -> tuple[str, float]:
    """(text, mean probability of its letters) of [time, classes]: repetitions and the class "none" are left out."""
    classes = steps.argmax(axis=1)
    new = (classes != 0) & (np.diff(classes, prepend=-1) != 0) & (classes < len(letters))
    text = "".join(letters[one] for one in classes[new])
    return text, float(steps.max(axis=1)[new].mean()) if new.any() else 0.0
