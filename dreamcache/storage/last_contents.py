"""The content that a photo had when it was last read, by its URI alone: what stands while its storage does not answer.

    tables of the photo index --> LastContents --of("https://shop.example/a.png")--> LastContent(sha256, etag)

The newest row of a URI counts, by the time in its stamp. 56 bytes a row, and the ETags of web photos. Knows rows of
the photo index; asks no storage.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dreamcache.core.locations import is_local
from dreamcache.core.web_url import is_web

DIGEST_BYTES = 32
STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{0,200}"')
"""Equal ones mean equal bytes; a weak one, W/"..", promises less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LastContent:
    """sha256: 64 hex digits. etag: of a web photo whose server stated a strong one."""

    sha256: str
    num_bytes: int
    etag: str | None


class LastContents:
    """Of all rows of a photo index, whose memory they do not share."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        keys, times, sizes = [np.empty((0, 2), np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        contents, etags = [np.empty((0, DIGEST_BYTES), np.uint8)], [pa.array([], pa.string())]
        for table in tables:
            for batch in table.to_batches(max_chunksize=65_536):
                uris, stamps = batch["uri"].to_pylist(), batch["stamp"].to_pylist()
                keys.append(np.array([_key(uri) for uri in uris], np.uint64).reshape(-1, 2))
                pairs = [_time_and_etag(uri, stamp) for uri, stamp in zip(uris, stamps, strict=True)]
                times.append(np.array([when for when, _ in pairs], np.int64))
                etags.append(pa.array([etag for _, etag in pairs], pa.string()))
                sizes.append(batch["num_bytes"].to_numpy())
                digests = np.frombuffer(b"".join(batch["sha256"].to_pylist()), np.uint8)
                contents.append(digests.reshape(-1, DIGEST_BYTES))
        rows, moments = np.concatenate(keys), np.concatenate(times)
        order = np.lexsort((moments, rows[:, 1], rows[:, 0]))
        self._keys, self._sizes = rows[order], np.concatenate(sizes)[order]
        self._contents = np.concatenate(contents)[order]
        self._etags = pa.concat_arrays(etags).take(pa.array(order))

    def of(self, uri: str) -> LastContent | None:
        """None for a photo that no row names."""
        first, second = _key(uri)
        row = int(np.searchsorted(self._keys[:, 0], np.uint64(first)))
        newest = None
        while row < len(self._keys) and int(self._keys[row, 0]) == first:
            if int(self._keys[row, 1]) == second:
                newest = row
            row += 1
        if newest is None:
            return None
        content: bytes = self._contents[newest].tobytes()
        return LastContent(
            sha256=content.hex(), num_bytes=int(self._sizes[newest]), etag=self._etags[newest].as_py()
        )


def strong_etag(etag: str | None) -> str | None:
    """The ETag of an answer, None where it has none that equal bytes share."""
    return etag if etag is not None and STRONG_ETAG.fullmatch(etag) else None


def web_stamp(etag: str | None) -> str:
    """The stamp of a web photo that has just been read: a server states no other state of it than its ETag."""
    return f"{time.time_ns()}:{strong_etag(etag) or ''}"


def _key(uri: str) -> tuple[int, int]:
    digest = hashlib.blake2b(uri.encode(errors="surrogateescape"), digest_size=16).digest()
    return int.from_bytes(digest[:8]), int.from_bytes(digest[8:])


def _time_and_etag(uri: str, stamp: str) -> tuple[int, str | None]:
    """(nanoseconds, strong ETag of a web photo) of a row's stamp, as `photo_states` and `web_stamp` write them."""
    if is_web(uri):
        when, _, etag = stamp.partition(":")
        # A header is sent as it is written here, and anyone may have written the index.
        return min(_number(when), LATEST), strong_etag(etag)
    if is_local(uri):
        return min(max((_number(part) for part in stamp.split(":")[:2]), default=0), LATEST), None
    return min(_number(stamp.rpartition(":")[2]) * 1_000_000_000, LATEST), None


LATEST = 2**63 - 1
"""Nanoseconds that int64 holds: the year 2262. Clocks and headers of others state later ones."""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
