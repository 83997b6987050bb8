"""How large the pages of a Parquet file are, read from the headers of the pages themselves.

Arrow reserves what a page's header states and fills it from a few bytes: 31 kB may become 1 GB. The footer's sums say
nothing about a page, and may be wrong. Knows the layout of column chunks and the Thrift compact protocol; decodes no
page.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MAX_PAGE_BYTES = 256 << 20
MAX_PAGES = 200_000
MAX_DEPTH = 16
UNCOMPRESSED, COMPRESSED = 2, 3
"""Fields of a page header: sizes of the page."""


class PageError(ValueError):
    """Pages that cannot be read within bounds. The text follows "catalog '...': "."""


def largest_page(file: pq.ParquetFile, data: bytes) -> int:
    """Bytes of the largest page of texts once it is unpacked, dictionaries included; at least 1.

    Raises PageError for a page over MAX_PAGE_BYTES, too many pages, or headers that are damaged.
    """
    largest, count = 1, 0
    metadata = file.metadata
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            for size in _page_sizes(chunk, data):
                count += 1
                if size > MAX_PAGE_BYTES:
                    raise PageError(
                        f"column '{chunk.path_in_schema}': a page may unpack to {MAX_PAGE_BYTES:,} bytes at most, this "
                        f"one states {size:,}; write shorter cells"
                    )
                if count > MAX_PAGES:
                    raise PageError(f"may have at most {MAX_PAGES:,} pages, has more; write larger pages")
                if chunk.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
                    largest = max(largest, size)
    return largest


def unpacked_bytes(file: pq.ParquetFile, data: bytes, limit: int) -> int:
    """Bytes of all pages once they are unpacked. Raises PageError for more than `limit`, or damaged headers."""
    total, metadata = 0, file.metadata
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            total += sum(_page_sizes(metadata.row_group(group).column(column), data))
            if total > limit:
                raise PageError(f"its pages may unpack to {limit:,} bytes at most, they state {total:,}")
    return total


def read_group(source: pa.NativeFile, group: int, columns: Sequence[str], limit: int) -> pa.Table:
    """A row group's columns, where their pages unpack to at most `limit` bytes.

    What the group has of these columns is read once, looked at, and then decoded. Raises PageError.
    """
    metadata = pq.ParquetFile(source).metadata
    row_group = metadata.row_group(group)
    chunks = [row_group.column(number) for number in range(row_group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns]
    ranges = [_range(chunk, source.size()) for chunk in chunks]
    start, end = min(first for first, _ in ranges), max(last for _, last in ranges)
    if end - start > limit:
        raise PageError(
            f"has a row group of {end - start:,} bytes, {limit:,} are allowed; write smaller ones"
        )
    data = source.read_at(end - start, start)
    total = sum(sum(_page_sizes(chunk, data, start)) for chunk in chunks)
    if total > limit:
        raise PageError(f"has a row group that unpacks to {total:,} bytes, {limit:,} are allowed")
    fetched = pa.PythonFile(_Fetched(source, start, data), mode="r")
    return pq.ParquetFile(fetched, metadata=metadata).read_row_group(group, columns=list(columns))


class _Fetched(io.RawIOBase):
    """A file of which one part is in memory."""

    def __init__(self, source: pa.NativeFile, start: int, data: bytes) -> None:
        self._source, self._start, self._data, self._at = source, start, data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: int(self._source.size())}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        begin = self._at - self._start
        if 0 <= begin and 0 <= size <= len(self._data) - begin:
            part = self._data[begin : begin + size]
        else:
            part = bytes(
                self._source.read_at(size if size >= 0 else self._source.size() - self._at, self._at)
            )
        self._at += len(part)
        return part


def _range(chunk: Any, num_bytes: int) -> tuple[int, int]:
    offsets = [chunk.data_page_offset, chunk.dictionary_page_offset]
    start = min(offset for offset in offsets if offset)
    end = start + chunk.total_compressed_size
    if not 0 < start <= end <= num_bytes:
        raise PageError(
            f"column '{chunk.path_in_schema}': its pages must lie in the file, lie outside; write it again"
        )
    return start, end


def _page_sizes(chunk: Any, data: bytes, start: int = 0) -> list[int]:
    """data: of the file, from `start` on."""
    position, end = _range(chunk, start + len(data))
    position, end = position - start, end - start
    sizes: list[int] = []
    while position < end and len(sizes) <= MAX_PAGES:
        header = _Header(data, position)
        sizes.append(header.uncompressed)
        position = header.end + header.compressed
    return sizes


@dataclass(slots=True)
class _Header:
    """A page header at a position of the data; raises PageError for what is none."""

    data: bytes
    end: int
    uncompressed: int = -1
    compressed: int = -1

    def __post_init__(self) -> None:
        try:
            fields = self._struct(0)
        except IndexError as error:
            raise PageError("a page's header must be whole, is cut off; write the file again") from error
        self.uncompressed, self.compressed = fields.get(UNCOMPRESSED, -1), fields.get(COMPRESSED, -1)
        if self.uncompressed < 0 or self.compressed < 0:
            raise PageError("a page's header must state sizes of 0 or more; write the file again")

    def _struct(self, depth: int) -> dict[int, int]:
        """Whole numbers by field; everything else is passed over."""
        if depth > MAX_DEPTH:
            raise PageError("a page's header must have few levels, has many; write the file again")
        numbers: dict[int, int] = {}
        field = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            field = field + step if step else self._number()
            value = self._value(kind, depth)
            if value is not None:
                numbers[field] = value
        return numbers

    def _value(self, kind: int, depth: int) -> int | None:
        if kind in (4, 5, 6):
            return self._number()
        if kind == 3:
            self.end += 1
        elif kind == 7:
            self.end += 8
        elif kind == 8:
            length = self._unsigned()
            self.end += length
        elif kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._unsigned()
            for _ in range(min(count, len(self.data))):
                self._value(3 if head & 15 in (1, 2) else head & 15, depth + 1)
        elif kind == 12:
            self._struct(depth + 1)
        elif kind not in (1, 2):
            raise PageError(
                f"a page's header must be Thrift, has a field of type {kind}; write the file again"
            )
        return None

    def _byte(self) -> int:
        self.end += 1
        return self.data[self.end - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise PageError("a page's header must have numbers of 64 bits at most; write the file again")

    def _number(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
