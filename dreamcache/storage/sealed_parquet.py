"""Parquet files whose every byte is under one checksum, readable by any Parquet reader.

The file's metadata hold `SEAL` + 64 hex digits: the sha256 of the whole file with these digits as zeros.
Parquet's own page checksums leave the footer open, and a damaged footer can read as other values.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.core import ids
from dreamcache.storage.arrow_values import check_values
from dreamcache.storage.parquet_pages import has_dictionaries, unpacked_bytes

SEAL_KEY = "dreamcache.seal"
SEAL = b"sha256-of-file-with-zeros-here:"
DIGITS = 64
ZEROS = b"0" * DIGITS
UNPACKED_BYTES = 1 << 30
MOST_ROWS = 20_000_000


def seal(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """The table as one sealed Parquet file (zstd), with `metadata` in its footer."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema.remove_metadata(),
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,  # nothing but our own metadata in the footer
    ) as writer:
        writer.write_table(table.replace_schema_metadata(None))
        writer.add_key_value_metadata({**metadata, SEAL_KEY: (SEAL + ZEROS).decode()})
    data: bytes = sink.getvalue().to_pybytes()
    if data.count(SEAL) != 1:
        raise ValueError(f"the text '{SEAL.decode()}' is reserved and may not be part of what is stored")
    start = data.index(SEAL) + len(SEAL)
    return data[:start] + ids.of_bytes(data).encode() + data[start + DIGITS :]


def unseal(
    data: bytes, limit: int = UNPACKED_BYTES, rows: int = MOST_ROWS
) -> tuple[pa.Table, dict[str, str]]:
    """(table, metadata). ValueError with the difference when the bytes are not those that were sealed.

    Anyone can compute the checksum, so it proves no origin: limit is what the table may unpack to, in bytes, and
    rows how many it may have.
    """
    start = data.rfind(SEAL) + len(SEAL)
    if start < len(SEAL) or start + DIGITS > len(data):
        raise ValueError("has no checksum of ours (cut short, or written by another program)")
    stated = data[start : start + DIGITS].decode("ascii", errors="replace")
    is_now = ids.of_bytes(data[:start] + ZEROS + data[start + DIGITS :])
    if stated != is_now:
        raise ValueError(
            f"checksum in the file is {stated[:12]}..., of the file is {is_now[:12]}... (damaged)"
        )
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        unpacked_bytes(data, limit)
        if file.metadata.num_rows > rows or has_dictionaries(data):
            raise ValueError("has rows or dictionaries that dreamcache does not write")
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"is not readable as Parquet: {error}") from error
    check_values(table)
    metadata = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items()}
    metadata.pop(SEAL_KEY, None)
    return table.replace_schema_metadata(None), metadata
