"""How many pixels the images of a plan have, whose scenes may differ in size. Knows plan tables and settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.scenes import overrides_of


class Pixels:
    """Pixels of all images of a plan that can run, counted while its tables pass."""

    def __init__(self, spec: JobSpec, native_size: int) -> None:
        self._generation, self._native_size = spec.generation, native_size
        self.total = 0

    def counted(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same tables."""
        for table in tables:
            ready = table.filter(pc.is_null(table["code"]))
            for group in pc.value_counts(ready["overrides"]).to_pylist():
                settings = overrides_of(group["values"]).generation(self._generation)
                sides = (side or self._native_size for side in (settings.height, settings.width))
                self.total += group["counts"] * math.prod(sides)
            yield table
