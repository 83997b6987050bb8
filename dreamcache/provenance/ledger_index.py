"""The perceptual hashes of given ledgers, and which of their images a picture is.

    ledgers --open_index--> hashes in memory, 40 bytes an image --nearest--> the 50 nearest, upright, turned or mirrored
                                                                 equal colours, or local features of the stored images

Knows ledgers and stored images; knows nothing of marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dreamcache.core.errors import DreamCacheError
from dreamcache.provenance import hashes
from dreamcache.provenance.hashes import Hashes, Pixels
from dreamcache.provenance.local_features import (
    Features,
    features_of,
    has_same_colours,
    is_same_picture,
)
from dreamcache.storage.image_store import decode_image
from dreamcache.storage.item_keys import is_key_of
from dreamcache.storage.ledger import Ledger, resolve_table
from dreamcache.storage.open_store import open_store

SURE_DISTANCE = 4
"""Bits of 64: so near, equal colours decide. Measured in docs/provenance.md."""
CANDIDATES = 50
"""Nearest images whose pixels are compared."""
KEPT_IMAGES = 256
"""Stored images, 500 kB each, for a folder of files that are near the same ones."""
MAX_IMAGE_BYTES = 256 << 20

Lay = tuple[Pixels, Hashes]
"""A picture as it is, turned or mirrored, and its hashes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerMatch:
    """The image of a ledger that a picture is, or the nearest one. distance: bits of 64, of the picture as it is or
    turned by quarters or mirrored, whichever is nearest.

    decided_by: hash (and equal colours) or features where it is the same picture, none where it is only the nearest.
    """

    output: str
    item_id: str
    key: str
    distance: int
    decided_by: Literal["hash", "features", "none"]

    @property
    def is_same(self) -> bool:
        return self.decided_by != "none"


class LedgerIndex:
    """Images of several jobs by their hashes. values: uint64 [n, 4]; owners: number of each one's output, [n]."""

    def __init__(self, outputs: Sequence[str], items: pa.Table, values: Hashes) -> None:
        self.outputs = tuple(outputs)
        self._items = items
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def nearest(self, rgb: Pixels) -> LedgerMatch | None:
        """The image that this picture is, else the nearest by hash; None for an empty index.

        uint8 [height, width, 3]. Stored images that cannot be read are passed over: no hash decides alone, since
        products on a plain ground share theirs.
        """
        if not len(self):
            return None
        turns, mirrored_turns = ([(one, hashes.hashes_of(one)) for one in lay(rgb)] for lay in hashes.HANDS)
        as_it_is = hashes.distances(self._values, turns[0][1])
        match = self._same_frame(as_it_is, turns[:1])
        if match is not None:
            return match
        turned, mirrored = (
            np.minimum.reduce([hashes.distances(self._values, values) for _, values in lays])
            for lays in (turns, mirrored_turns)
        )
        nearest = np.minimum(turned, mirrored)
        match = self._same_frame(nearest, [*turns, *mirrored_turns])
        # Points are found again in a turned picture, and not in a mirrored one.
        match = match or self._same_points(nearest, [*_smallest(as_it_is), *_smallest(turned)], rgb)
        match = match or self._same_points(nearest, _smallest(mirrored), rgb[:, ::-1])
        return match or self._match(nearest, int(nearest.argmin()), "none")

    def _same_frame(self, distances: NDArray[np.uint8], lays: Sequence[Lay]) -> LedgerMatch | None:
        """The first of the nearest whose hash is near, and whose pixels are those of one of these lays."""
        for row in _smallest(distances):
            if distances[row] > SURE_DISTANCE:
                break
            candidate = self._match(distances, row, "hash")
            stored = _stored(candidate.output, candidate.item_id, candidate.key)
            if stored is not None and any(self._is_frame_of(row, stored.colours, lay) for lay in lays):
                return candidate
        return None

    def _is_frame_of(self, row: int, stored: Pixels, lay: Lay) -> bool:
        """Whether parts with near hashes have the same colours."""
        laid, values = lay
        return any(
            int(self._values[row, own] ^ values[other]).bit_count() <= SURE_DISTANCE
            and has_same_colours(
                hashes.central(stored, hashes.SHARES[own]), hashes.central(laid, hashes.SHARES[other])
            )
            for own, other in hashes.PAIRS
        )

    def _same_points(
        self, distances: NDArray[np.uint8], rows: Sequence[int], laid: Pixels
    ) -> LedgerMatch | None:
        """The first of these rows that shows the same pixels, found by points."""
        query = features_of(laid)
        for row in dict.fromkeys(rows):
            candidate = self._match(distances, row, "features")
            stored = _stored(candidate.output, candidate.item_id, candidate.key)
            if stored is not None and is_same_picture(stored, query):
                return candidate
        return None

    def _match(
        self, distances: NDArray[np.uint8], row: int, decided_by: Literal["hash", "features", "none"]
    ) -> LedgerMatch:
        item = self._items.slice(row, 1).to_pylist()[0]
        return LedgerMatch(
            output=self.outputs[item["owner"]],
            item_id=item["item_id"],
            key=item["key"],
            distance=int(distances[row]),
            decided_by=decided_by,
        )


def _smallest(distances: NDArray[np.uint8]) -> list[int]:
    """Rows of the CANDIDATES least distances, the least first."""
    count = min(CANDIDATES, len(distances))
    rows = np.argpartition(distances, count - 1)[:count]
    return [int(row) for row in rows[np.argsort(distances[rows], kind="stable")]]


def open_index(outputs: Iterable[str]) -> LedgerIndex:
    """The images of the jobs at these outputs; those recorded without hashes are left out.

    Raises StorageError when a ledger cannot be read.
    """
    names = list(outputs)
    tables, values = [], []
    for owner, output in enumerate(names):
        table = resolve_table(Ledger(output).scan())
        table = table.filter(
            pc.and_(pc.equal(table["status"], "done"), pc.is_valid(table["perceptual_hash"]))
        ).select(["item_id", "key", "perceptual_hash"])
        usable = [_usable(text) for text in table["perceptual_hash"].to_pylist()]
        table = table.filter(pa.array([value is not None for value in usable], pa.bool_()))
        values += [value for value in usable if value is not None]
        owners = pa.array([owner] * table.num_rows, pa.int32())
        tables.append(table.drop_columns("perceptual_hash").append_column("owner", owners))
    items = (
        pa.concat_tables(tables).combine_chunks()
        if tables
        else pa.table({"item_id": pa.array([], pa.string())})
    )
    stacked = np.stack(values) if values else np.empty((0, len(hashes.SHARES)), np.uint64)
    return LedgerIndex(names, items, stacked)


def _usable(text: str) -> Hashes | None:
    try:
        return hashes.from_text(text)
    except ValueError:
        return None


@lru_cache(maxsize=KEPT_IMAGES)
def _stored(output: str, item_id: str, key: str) -> Features | None:
    """Of the stored pixels; None when they cannot be read, or the key is not the item's: a ledger may be anyone's."""
    if not is_key_of(key, item_id):
        return None
    try:
        return features_of(decode_image(open_store(output).read(key, MAX_IMAGE_BYTES)))
    except (DreamCacheError, OSError):
        return None
