"""Content hashes: the ids of everything handed over. sha256 in hex, of canonical JSON or of bytes.

Never counters, uuids or Python's salted `hash()`: the same input has the same id on every machine and day.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

SEED_BITS = 63


def of_bytes(data: bytes) -> str:
    """sha256 of bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def of_values(kind: str, **values: Any) -> str:
    """sha256 of named JSON values. `kind` keeps ids of different hand-overs apart."""
    return of_bytes(canonical_json({"kind": kind, **values}).encode())


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; refuses NaN, whose text differs between readers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def seed_of(item_id: str) -> int:
    """The item's random seed, in [0, 2**63): it belongs to the item, not to a batch, worker or attempt."""
    return int(item_id[:16], 16) & ((1 << SEED_BITS) - 1)


def shard_of(key: str) -> str:
    """The two hex digits that spread keys over prefixes of an object store."""
    return key[:2]
