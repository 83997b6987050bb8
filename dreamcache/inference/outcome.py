"""What comes of a request in a generator or a gate: an image not yet committed, or the reason why there is none.

Knows records only; an image that is committed is a `records.Done`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dreamcache.core.records import Blocked, Failed, Quality


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Generated:
    """An image not yet committed: rgb uint8 [H, W, 3]; seconds: its share of its batch's time; quality: of a gate."""

    item_id: str
    rgb: NDArray[np.uint8]
    seconds: float
    quality: Quality | None = None


GenerationOutcome = Generated | Blocked | Failed
