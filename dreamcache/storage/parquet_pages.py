"""How large the pages of a Parquet file are, read from the headers of the pages themselves.

Arrow reserves what a page's header states and fills it from a few bytes: 31 kB may become 1 GB. The footer's sums say
nothing about a page, and may be wrong. Knows the layout of column chunks; decodes no page.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.storage.parquet_footer import TAIL, Chunk, footer_length, read_chunks
from dreamcache.storage.thrift_compact import CompactReader, ThriftError

MAX_PAGE_BYTES = 256 << 20
MAX_PAGES = 200_000
UNCOMPRESSED, COMPRESSED = 2, 3
"""Fields of a page header: sizes of the page."""

T = TypeVar("T")


class PageError(ValueError):
    """Pages that cannot be read within bounds. The text follows "catalog '...': "."""


def largest_page(data: bytes) -> int:
    """Bytes of the largest page of texts once it is unpacked, dictionaries included; at least 1.

    data: a Parquet file. Raises PageError for a page over MAX_PAGE_BYTES, too many pages, or headers that are damaged.
    """
    largest, count = 1, 0
    for chunk in (chunk for group in _groups(data) for chunk in group):
        for size in _page_sizes(chunk, data):
            count += 1
            if size > MAX_PAGE_BYTES:
                raise PageError(
                    f"column '{chunk.path}': a page may unpack to {MAX_PAGE_BYTES:,} bytes at most, this "
                    f"one states {size:,}; write shorter cells"
                )
            if count > MAX_PAGES:
                raise PageError(f"may have at most {MAX_PAGES:,} pages, has more; write larger pages")
            if chunk.is_text:
                largest = max(largest, size)
    return largest


def unpacked_bytes(data: bytes, limit: int) -> int:
    """Bytes of all pages once they are unpacked. Raises PageError for more than `limit`, or damaged headers."""
    total = 0
    for chunk in (chunk for group in _groups(data) for chunk in group):
        total += sum(_page_sizes(chunk, data))
        if total > limit:
            raise PageError(f"its pages may unpack to {limit:,} bytes at most, they state {total:,}")
    return total


def has_dictionaries(data: bytes) -> bool:
    """Whether any column has one: a few bytes may then stand for any number of rows. Raises PageError."""
    return any(chunk.has_dictionary for group in _groups(data) for chunk in group)


def read_group(source: pa.NativeFile, group: int, columns: Sequence[str], limit: int) -> pa.Table:
    """A row group's columns, where their pages unpack to at most `limit` bytes.

    What the group has of these columns is read once, looked at, and then decoded. Raises PageError.
    """
    size = source.size()
    tail = source.read_at(min(TAIL, size), max(size - TAIL, 0))
    length = min(_parsed(footer_length, tail) + TAIL, size)
    groups = _groups(source.read_at(length, size - length))
    if group >= len(groups):
        raise PageError(f"has {len(groups)} row groups in its footer, number {group} is not among them")
    chunks = [chunk for chunk in groups[group] if chunk.path.split(".")[0] in columns]
    ranges = [_range(chunk, size) for chunk in chunks]
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
    return pq.ParquetFile(fetched).read_row_group(group, columns=list(columns))


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


def _groups(tail: bytes) -> list[list[Chunk]]:
    return _parsed(read_chunks, tail)


def _parsed(read: Callable[[bytes], T], data: bytes) -> T:
    try:
        return read(data)
    except ThriftError as error:
        raise PageError(str(error)) from error


def _range(chunk: Chunk, num_bytes: int) -> tuple[int, int]:
    start, end = chunk.start, chunk.start + chunk.num_bytes
    if not 0 < start <= end <= num_bytes:
        raise PageError(f"column '{chunk.path}': its pages must lie in the file, lie outside; write it again")
    return start, end


def _page_sizes(chunk: Chunk, data: bytes, start: int = 0) -> list[int]:
    """data: of the file, from `start` on."""
    position, end = _range(chunk, start + len(data))
    position, end = position - start, end - start
    sizes: list[int] = []
    while position < end and len(sizes) <= MAX_PAGES:
        unpacked, packed, position = _page(data, position)
        sizes.append(unpacked)
        position += packed
    return sizes


def _page(data: bytes, position: int) -> tuple[int, int, int]:
    """(bytes once unpacked, bytes in the file, where they begin) of the page whose header is at `position`."""
    reader = CompactReader(data, position)
    try:
        header = reader.struct()
    except ThriftError as error:
        raise PageError(f"a page's header {error}") from error
    unpacked, packed = header.get(UNCOMPRESSED), header.get(COMPRESSED)
    if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
        raise PageError("a page's header must state sizes of 0 or more; write the file again")
    return unpacked, packed, reader.position
