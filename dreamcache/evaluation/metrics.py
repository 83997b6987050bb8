"""The formulas: mean cosine similarity of one image to a subject's real images, and of an image to its prompt.

CLIP-I, DINO, DINOv2 and their masked forms are one formula over other vectors. Knows numpy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def image_similarity(image: Vectors, real: Vectors) -> float:
    """Mean over the real images of cos(image, real). image: [width] of length 1; real: [n, width] of length 1.

    The mean over a subject's images of this is the mean over all pairs (docs/method.md section 6).
    """
    if len(real) == 0:
        raise ValueError("real must hold at least one vector")
    return float(np.mean(real.astype(np.float64) @ image.astype(np.float64)))


def text_similarity(image: Vectors, text: Vectors) -> float:
    """cos(image, text), both [width] of length 1; not scaled and not cut at zero."""
    return float(image.astype(np.float64) @ text.astype(np.float64))
