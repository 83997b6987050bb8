"""A batch as Ray Data carries it: one row of a block, whose one column is the list of the batch's rows.

    batches --packed--> a block, a row for each --Ray Data--> blocks of one row --unpacked--> the batch's rows

Ray Data cuts and joins blocks between any two rows, to sizes of its own. A batch that is one row reaches every worker
as it left the driver: no two are joined, none is cut. Knows Arrow only; copies only what Arrow must join.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import pyarrow as pa

COLUMN = "batch"


def packed(batches: Sequence[pa.Table]) -> pa.Table:
    """One row for each of the batches, which share one schema; at least one batch."""
    rows = pa.concat_tables(batches).combine_chunks()
    ends = pa.array(accumulate((batch.num_rows for batch in batches), initial=0), pa.int32())
    return pa.table({COLUMN: pa.ListArray.from_arrays(ends, rows.to_struct_array().combine_chunks())})


def unpacked(block: pa.Table) -> pa.Table:
    """The rows of all batches of a block, which in a worker is one batch."""
    return pa.Table.from_struct_array(block[COLUMN].combine_chunks().flatten())
