"""Where the pages of a Parquet file lie, by its footer.

Read here and not through pyarrow: its accessors of a column chunk end the process at some damaged footers. Knows the
footer; reads no page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dreamcache.storage.thrift_compact import CompactReader, ThriftError, Value

MAGIC = b"PAR1"
TAIL = 8
"""Bytes behind the footer: its length and MAGIC."""
MAX_FOOTER_BYTES = 64 << 20
TEXTS = (6, 7)
"""Physical types whose values have any length: BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """A column's pages in one row group. start, num_bytes: in the file. path: of the column, with dots."""

    path: str
    is_text: bool
    start: int
    num_bytes: int
    has_dictionary: bool


def footer_length(tail: bytes) -> int:
    """tail: the last bytes of a file, TAIL at least. Raises ThriftError for what is no Parquet file's."""
    length = int.from_bytes(tail[-TAIL:-4], "little")
    if len(tail) < TAIL or tail[-4:] != MAGIC:
        raise ThriftError("must be a Parquet file that is intact and not encrypted; write it again")
    if length > MAX_FOOTER_BYTES:
        raise ThriftError(
            f"may have a footer of {MAX_FOOTER_BYTES:,} bytes, states {length:,}; write larger row groups"
        )
    return length


def read_chunks(tail: bytes) -> list[list[Chunk]]:
    """Chunks by row group. tail: the end of a file, with its footer. Raises ThriftError."""
    length = footer_length(tail)
    if length > len(tail) - TAIL:
        raise ThriftError("must be whole, its footer is cut off; write the file again")
    footer = CompactReader(tail[len(tail) - TAIL - length : len(tail) - TAIL]).struct()
    return [[_chunk(column) for column in _structs(group.get(1))] for group in _structs(footer.get(4))]


def _structs(value: Value) -> list[Mapping[int, Value]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ThriftError("must state row groups and columns, states none; write the file again")
    return value


def _chunk(column: Mapping[int, Value]) -> Chunk:
    about = column.get(3)
    if not isinstance(about, dict):
        raise ThriftError("must state where each column lies, does not; write the file again")
    names = about.get(3)
    parts = names if isinstance(names, list) else []
    path = [name.decode("utf-8", "replace") for name in parts if isinstance(name, bytes)]
    dictionary = _number(about.get(11, 0))
    starts = [offset for offset in (_number(about.get(9)), dictionary) if offset > 0]
    return Chunk(
        path=".".join(path)[:200],
        is_text=about.get(1) in TEXTS,
        start=min(starts, default=0),
        num_bytes=_number(about.get(7)),
        has_dictionary=dictionary > 0,
    )


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise ThriftError("must state sizes and offsets of each column, does not; write the file again")
    return value
