"""Content hashes: the ids of all records. sha256 in hex, of canonical JSON or of bytes.

Never counters, uuids or Python's salted `hash()`: the same input has the same id on every machine and day.
"""

from __future__ import annotations

import hashlib
import json

SEED_BITS = 63


def of_bytes(data: bytes) -> str:
    """sha256 of bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def of_values(kind: str, **values: object) -> str:
    """sha256 of named JSON values. `kind` keeps the ids of different records apart."""
    return of_bytes(canonical_json({"kind": kind, **values}).encode())


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces; refuses NaN, whose text differs between readers."""
    return _ENCODER.encode(value)


class Template:
    """`of_values` with some values left open: the JSON around them is built once, the hashes are the same.

    `between` are the texts before, between and after the open values, whose JSON is inserted by order of name.
    """

    def __init__(self, kind: str, *, open_values: tuple[str, ...], **values: object) -> None:
        self.names = tuple(sorted(open_values))
        marks = {name: f"\0{name}\0" for name in self.names}
        rest = canonical_json({"kind": kind, **values, **marks})
        between = []
        for mark in marks.values():
            if rest.count(canonical_json(mark)) != 1:
                raise ValueError(f"the text {mark!r} is reserved and may be in no value of '{kind}'")
            text, rest = rest.split(canonical_json(mark))
            between.append(text)
        self.between = (*between, rest)

    def key(self, **values: object) -> str:
        """sha256 with the open values filled in, 64 hex digits."""
        filled = [
            text + canonical_json(values[name]) for text, name in zip(self.between, self.names, strict=False)
        ]
        return of_bytes(("".join(filled) + self.between[-1]).encode())


def seed_of(item_id: str) -> int:
    """The item's random seed, in [0, 2**63): it follows from the item alone, not from a batch, worker or attempt."""
    return int(item_id[:16], 16) & ((1 << SEED_BITS) - 1)


def seed_of_try(seed: int, number: int) -> int:
    """The seed of an item's try of that number, in [0, 2**63); try 0 has the item's own."""
    return seed if number == 0 else seed_of(of_values("try", seed=seed, number=number))


def shard_of(key: str) -> str:
    """The two hex digits that spread keys over prefixes of an object store."""
    return key[:2]
