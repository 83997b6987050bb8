"""Members of an uncompressed tar file: names, and where their bytes lie.

    ustar, GNU long names, pax names and sizes --members--> name, start, size

Regular members only. A sparse member states any size in a few bytes, and Python's tarfile reads zeros for it, or does
not end where sizes are negative (CVE-2025-8194, in releases we support). Knows headers; knows nothing of samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 512
MOST_MEMBERS = 1_000_000
HEADER_BYTES = 1 << 20
"""Of a long name or of pax records."""
_REGULAR, _LONG_NAME, _PAX, _SPARSE = (b"0", b"\0", b"7"), b"L", b"x", b"S"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A regular file in a tar. start, size: of its bytes."""

    name: str
    start: int
    size: int


def members(file: BinaryIO, num_bytes: int) -> Iterator[Member]:
    """The regular members in order. num_bytes: of the whole file.

    Raises ValueError, whose text follows "one that ...", for what is no such file.
    """
    at, count, long_name, pax = 0, 0, "", dict[str, str]()
    while at + BLOCK <= num_bytes:
        file.seek(at)
        header = file.read(BLOCK)
        if header == bytes(BLOCK):
            return
        _check(header)
        kind, start = header[156:157], at + BLOCK
        size = _number(pax["size"].encode() if "size" in pax else header[124:136], 10 if "size" in pax else 8)
        if start + size > num_bytes:
            raise ValueError(
                f"states a member of {size:,} bytes at {start:,} and has {num_bytes:,} bytes in all"
            )
        count += 1
        if count > MOST_MEMBERS:
            raise ValueError(f"has more than {MOST_MEMBERS:,} members; write smaller shards")
        if kind in (_LONG_NAME, _PAX):
            if size > HEADER_BYTES:
                raise ValueError(f"has a header of {size:,} bytes, {HEADER_BYTES:,} are allowed")
            content = file.read(size)
            if kind == _LONG_NAME:
                long_name = _text(content)
            else:
                pax = _records(content)
        else:
            if kind == _SPARSE or any(key.startswith("GNU.sparse") for key in pax):
                raise ValueError("has a sparse member; pack the files again without --sparse")
            if kind in _REGULAR:
                name = pax.get("path") or long_name or _name(header)
                yield Member(name=name, start=start, size=size)
            long_name, pax = "", {}
        at = start + -(-size // BLOCK) * BLOCK


def _check(header: bytes) -> None:
    stated = _number(header[148:156], 8)
    if stated != sum(header[:148]) + 8 * 32 + sum(header[156:]):
        raise ValueError("has a damaged header, or is no uncompressed tar file")


def _number(field: bytes, base: int) -> int:
    if field[:1] == b"\x80":  # binary, for sizes from 8 GB on
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip(b" ")
    if not text:
        return 0
    if not text.isdigit() or len(text) > 20:
        raise ValueError("has a header with a number that is none")
    return int(text, base)


def _records(content: bytes) -> dict[str, str]:
    """pax: "<length> <key>=<value>\\n", the length of the whole record."""
    records: dict[str, str] = {}
    at = 0
    while at < len(content) and content[at : at + 1] != b"\0":
        length, found, _ = content[at : at + 12].partition(b" ")
        if not found or not length.isdigit() or not 4 < int(length) <= len(content) - at:
            raise ValueError("has damaged pax records")
        key, _, value = content[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        records[_text(key)] = _text(value)
        at += int(length)
    return records


def _name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", errors="replace")
