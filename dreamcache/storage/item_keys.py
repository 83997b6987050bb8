"""Where an item's image lies: its key is a pure function of its id, so a record cannot name any other object.

    item id -> images/<2 digits>/<item id>.<png | jpg | webp>

Ledger, list of pruned images, manifest and plan are checked against it when they are read. Knows ids and keys; opens
nothing.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core import ids

EXTENSIONS = ("png", "jpg", "webp")
"""Of every format that a job may write (`ImageFormat`)."""
_ITEM_ID = r"^[A-Za-z0-9_-]{1,128}$"


def image_key_of(item_id: str, extension: str) -> str:
    """The key of an item's image, relative to the job's output."""
    return f"images/{ids.shard_of(item_id)}/{item_id}.{extension}"


def is_item_id(item_id: object) -> bool:
    """Whether it can be part of a key: an id is a hash in hex, and never holds a dot or a slash."""
    return isinstance(item_id, str) and re.match(_ITEM_ID, item_id) is not None and "\n" not in item_id


def is_key_of(key: object, item_id: object) -> bool:
    """Whether `key` is where the image of `item_id` lies."""
    return is_item_id(item_id) and key in [image_key_of(str(item_id), extension) for extension in EXTENSIONS]


def wrong_key(table: pa.Table) -> str | None:
    """What is wrong with the first row whose key is not that of its item, after "one that ..."; None if all are right.

    table: columns item_id and key; rows without a key have no image and are passed over.
    """
    images = table.select(["item_id", "key"]).filter(pc.is_valid(table["key"]))
    if not images.num_rows:
        return None
    item_ids, keys = images["item_id"], images["key"]
    stem = pc.binary_join_element_wise("images", pc.utf8_slice_codeunits(item_ids, 0, 2), item_ids, "/")
    right = pc.match_substring_regex(item_ids, _ITEM_ID)
    # One format nearly always: the first row's ending is tried before the others.
    ending = str(keys[0].as_py()).rpartition(".")[2]
    same = pc.equal(keys, pc.binary_join_element_wise(stem, ending, ".")) if ending in EXTENSIONS else None
    if same is None or not pc.all(same).as_py():
        tried = [pc.equal(keys, pc.binary_join_element_wise(stem, one, ".")) for one in EXTENSIONS]
        same = pc.or_(pc.or_(tried[0], tried[1]), tried[2])
    wrong = images.filter(pc.invert(pc.fill_null(pc.and_(right, same), False)))
    if not wrong.num_rows:
        return None
    item_id, key = (wrong[name][0].as_py() for name in ("item_id", "key"))
    return (
        f"names {ascii(key)[:200]} as the image of item {ascii(item_id)[:80]}, which is not that item's key"
    )
