"""The `lang-sam` package (optional extra): Grounding DINO and SAM 2, prompted with the class name.

Knows lang-sam's interface; must not know where photos come from. The package reads its weights when it
is created, prints to stdout, and reports "nothing found" as empty lists.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import numpy as np
from PIL import Image

from dreamcache.core.errors import ModelError
from dreamcache.segment.interface import Segment

SAM_TYPE = "sam2.1_hiera_small"
THRESHOLD = 0.3
TEXT_THRESHOLD = 0.25


class LangSamSegmenter:
    """The best-scored object of the class. Raises ModelError if lang-sam is not installed."""

    def __init__(self, sam_type: str = SAM_TYPE, device: str = "cpu") -> None:
        try:
            from lang_sam import LangSAM
        except ImportError as error:
            raise ModelError(
                f"segmenter 'lang-sam': its package must be installed, got {error}; install the extra "
                f"dreamcache[lang-sam], or use segmenter grounded-sam",
                code="segmenter_missing",
            ) from None
        self._create = LangSAM
        self._sam_type = sam_type
        self._device = device
        self._model: Any = None

    def __call__(self, image: Image.Image, class_name: str = "", mask: Image.Image | None = None) -> Segment:
        word = class_name.strip().lower().rstrip(".")
        if not word:
            return Segment.without_mask("no_class_name")
        # The stdout of this process may be the machine-readable output of a command.
        with contextlib.redirect_stdout(sys.stderr):
            if self._model is None:
                self._model = self._create(sam_type=self._sam_type, device=self._device)
            result = self._predict(image.convert("RGB"), f"{word}.")
        scores, masks = np.asarray(result["scores"]), np.asarray(result["masks"])
        if scores.size == 0 or masks.size == 0:
            return Segment.without_mask("nothing_found")
        best = int(scores.argmax())
        return Segment.of_mask(masks.reshape(-1, image.height, image.width)[best] > 0, float(scores[best]))

    def _predict(self, image: Image.Image, text: str) -> Any:
        try:
            return self._model.predict(
                [image], [text], box_threshold=THRESHOLD, text_threshold=TEXT_THRESHOLD
            )[0]
        except TypeError as error:
            # lang-sam up to 0.2.1 passes a keyword that version 5 of transformers renamed.
            raise ModelError(
                f"segmenter 'lang-sam': it must fit the installed transformers, got {error}; update it, "
                f"or use segmenter grounded-sam",
                code="segmenter_missing",
            ) from error
