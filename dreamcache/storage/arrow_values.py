"""Whether what Arrow has read is what its types say: a Parquet file may hold any bytes as texts, any number as a time.

Arrow hands both on, and the first Python value made of them raises. Knows columns; knows no files.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def check_values(table: pa.Table | pa.RecordBatch) -> None:
    """Raises ValueError for texts that are no UTF-8, damaged lists, and times outside the years that a datetime has."""
    table.validate(full=True)
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            try:
                pc.min_max(table[name]).as_py()
            except (OverflowError, ValueError) as error:
                raise ValueError(f"has a time in {name} that is none") from error
