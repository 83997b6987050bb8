"""Which content a photo has, kept beside the feature cache, so that a plan reads only photos that are new or changed.

    state of a photo (uri, size, stamp) --PhotoIndex--> row with the sha256 of its bytes, or None: read it

A stamp is what the storage changes with every write: times of content and inode and the inode's number on a disk, ETag,
time and version on S3. A row whose photo was written since matches no state any more, so rows need no order and two
planners may add at once. Nothing here is trusted: the encoder compares a photo's bytes with its plan.

A damaged part is removed by the planner that finds it: its name is that of its rows, which could not be written again.

In memory a row is 48 bytes, whatever its URI. Knows states and hashes; not how a state is learned (`photo_states`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dreamcache.core import ids
from dreamcache.core.errors import StorageError
from dreamcache.storage.last_contents import LastContent, LastContents
from dreamcache.storage.part_log import LogSettings, PartFormat, PartLog, name_of
from dreamcache.storage.store import ObjectInfo

FOLDER = "photo-index"
ROWS_PER_PART = 65_536
SMALL_BYTES = 1 << 20
MOST_SMALL_PARTS = 32
"""More parts under SMALL_BYTES are merged by the planner that adds another."""
DIGEST_BYTES = 32
SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),
        pa.field("stamp", pa.string(), nullable=False),
        pa.field("sha256", pa.binary(DIGEST_BYTES), nullable=False),
    ]
)
LOG = LogSettings(
    format=PartFormat(family="photo-index-", number=1, schema=SCHEMA),
    what="a part of the photo index",
    code="bad_photo_index",
    remedy="it is removed, the photos are read again",
)

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoState:
    """A photo as its storage describes it. stamp: changes with every write."""

    uri: str
    num_bytes: int
    stamp: str


class PhotoIndex:
    """The rows of one folder. Thread-safe.

    Reading and writing never fail a plan: what cannot be read or written is a line in `notes`.
    """

    def __init__(self, folder_uri: str) -> None:
        self.notes: list[str] = []
        self._keys: Words = np.empty((0, 2), np.uint64)
        self._contents = np.empty((0, DIGEST_BYTES), np.uint8)
        self._new: dict[PhotoState, bytes] = {}
        self._lock = Lock()
        self._log: PartLog | None = None
        self._parts: list[ObjectInfo] = []
        self._damaged: list[ObjectInfo] = []
        self._last: LastContents | None = None
        try:
            self._log = PartLog(folder_uri, LOG)
            self._parts = self._log.parts()
            self._load(self._log)
        except StorageError as error:
            self.notes.append(f"the photo index cannot be read, so photos are: {error}")

    def __len__(self) -> int:
        return len(self._keys)

    def row(self, state: PhotoState) -> int | None:
        """The row of a photo in this state; None where it must be read."""
        first, second = _key(state)
        row = int(np.searchsorted(self._keys[:, 0], np.uint64(first)))
        while row < len(self._keys) and int(self._keys[row, 0]) == first:
            if int(self._keys[row, 1]) == second:
                return row
            row += 1
        return None

    def sha256(self, row: int) -> str:
        """The content of a row's photo, 64 hex digits."""
        content: bytes = self._contents[row].tobytes()
        return content.hex()

    def last(self, uri: str) -> LastContent | None:
        """The newest content of the photo at `uri` that earlier plans have read; None where none has. The first call
        reads the parts again."""
        with self._lock:
            if self._last is None:
                self._last = LastContents(self._tables())
        return self._last.of(uri)

    def _tables(self) -> Iterator[pa.Table]:
        damaged = {info.uri for info in self._damaged}
        for info in self._parts:
            if self._log is not None and info.uri not in damaged:
                with suppress(StorageError):  # it was readable a moment ago, and nothing depends on it
                    table = self._log.read(info.uri)
                    if table is not None:
                        yield table

    def add(self, state: PhotoState, sha256: str) -> None:
        """A photo that was read. The state is from before the reading: if it changed meanwhile, no row matches it."""
        with self._lock:
            self._new[state] = bytes.fromhex(sha256)
            if len(self._new) >= ROWS_PER_PART:
                self._append()

    def save(self) -> None:
        """Writes what was added and is not written yet; removes damaged parts, merges small ones if there are many."""
        with self._lock:
            self._remove_damaged()  # also by a plan that has read no photo
            if self._new and self._append():
                self._merge()

    def _remove_damaged(self) -> None:
        """Two planners may do so at once: a part that another one has written anew meanwhile has another ETag, and
        stays."""
        damaged, self._damaged = self._damaged, []
        try:
            for info in damaged:
                assert self._log is not None  # which has read them
                name = name_of(info.uri)
                empty = LOG.format.seal(SCHEMA.empty_table())
                if self._log.store.replace(name, empty, info.etag):
                    self._log.store.delete(name)
        except StorageError as error:
            self.notes.append(f"a damaged part of the photo index cannot be removed: {error}")

    def _append(self) -> bool:
        table, self._new = _table(self._new.items()), {}
        self._remove_damaged()
        if self._log is None:
            return False
        try:
            self._log.append(_name(table), table)
        except StorageError as error:
            self._log = None
            self.notes.append(f"the photo index cannot be written, so photos are read again: {error}")
        return self._log is not None

    def _merge(self) -> None:
        small = [info.uri for info in self._parts if info.num_bytes < SMALL_BYTES]
        if self._log is not None and len(small) >= MOST_SMALL_PARTS:
            try:
                self._log.merge(small, _merged, lambda data: f"part-{ids.of_bytes(data)[:32]}.parquet")
            except StorageError as error:
                self.notes.append(f"parts of the photo index cannot be merged: {error}")

    def _load(self, log: PartLog) -> None:
        keys, contents = [self._keys], [self._contents]
        for info in self._parts:
            try:
                table = log.read(info.uri)
            except StorageError as error:
                self.notes.append(str(error))
                if error.code == LOG.code:
                    self._damaged.append(info)
                continue
            for batch in table.to_batches(max_chunksize=65_536) if table is not None else ():
                keys.append(_keys_of(batch))
                contents.append(_digests_of(batch))
        rows = np.concatenate(keys)
        order = np.argsort(rows[:, 0], kind="stable")
        self._keys, self._contents = rows[order], np.concatenate(contents)[order]


def _key(state: PhotoState) -> tuple[int, int]:
    text = f"{state.uri}\n{state.num_bytes}\n{state.stamp}".encode(errors="surrogateescape")
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return int.from_bytes(digest[:8]), int.from_bytes(digest[8:])


def _keys_of(batch: pa.RecordBatch) -> Words:
    states = zip(
        batch["uri"].to_pylist(), batch["num_bytes"].to_pylist(), batch["stamp"].to_pylist(), strict=True
    )
    pairs = [_key(PhotoState(uri=uri, num_bytes=size, stamp=stamp)) for uri, size, stamp in states]
    return np.array(pairs, np.uint64).reshape(-1, 2)


def _digests_of(batch: pa.RecordBatch) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(batch["sha256"].to_pylist()), np.uint8).reshape(-1, DIGEST_BYTES)


def _table(rows: Iterable[tuple[PhotoState, bytes]]) -> pa.Table:
    ordered = sorted(rows, key=lambda row: (row[0].uri, row[0].stamp))
    columns = {
        "uri": [state.uri for state, _ in ordered],
        "num_bytes": [state.num_bytes for state, _ in ordered],
        "stamp": [state.stamp for state, _ in ordered],
        "sha256": [content for _, content in ordered],
    }
    return pa.table(columns, schema=SCHEMA)


def _merged(tables: Iterable[pa.Table]) -> pa.Table:
    """All rows once. Rows of photos that were written since are few, and cost a merge of their own to find."""
    return pa.concat_tables(tables).combine_chunks()


def _name(table: pa.Table) -> str:
    return ids.of_bytes(LOG.format.seal(table))[:32]
