"""A small JSON file of ours, read as what it may have become since: damaged, truncated, nested without end.

    bytes --parse_object--> dict, or ValueError in one line

Knows JSON; knows nothing of what the files state.
"""

from __future__ import annotations

import json
from typing import Any

JsonObject = dict[str, Any]
"""What a JSON file holds: names and values of any JSON type, checked by who reads them."""

MAX_BYTES = 64 << 20
MAX_DEPTH = 40


def parse_object(data: bytes) -> JsonObject:
    """The object in a file. Raises ValueError, whose text states the fault, for anything else."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES:,} bytes")
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("is nested without end") from error
    except (ValueError, OverflowError) as error:
        raise ValueError(f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"holds a {type(value).__name__}, no object")
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"has more than {MAX_DEPTH} levels")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _is_deeper(value: Any, levels: int) -> bool:
    """Without recursion: what walks such a value later may recurse."""
    layer = [value]
    for _ in range(levels):
        members = (one.values() if isinstance(one, dict) else one for one in layer)
        layer = [member for some in members for member in some if isinstance(member, dict | list)]
        if not layer:
            return False
    return True
