"""A cell's value as text, whatever type a file gives it. Numbers, dates, lists and bytes keep their values.

Knows values of Python, JSON and Arrow; knows nothing of columns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

PROMPT_SEPARATOR = "|"
MAX_EXACT = 2.0**53
"""Above it a float no longer holds every whole number."""


def text_of(value: object) -> str:
    """None, NaN and infinity are empty; 1001.0 is "1001"; members of a list have ", " between; a mapping is JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else ""
    if isinstance(value, bytes):
        return _decoded(value)
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, Sequence):
        return ", ".join(text for text in map(text_of, value) if text)
    text = str(value).strip()
    return "" if text == "NaT" else text


def prompts_of(value: object) -> tuple[str, ...]:
    """A list's members, or a text's parts between `|`; empty ones left out."""
    values = value if isinstance(value, (list, tuple)) else text_of(value).split(PROMPT_SEPARATOR)
    return tuple(text for text in (text_of(prompt) for prompt in values) if text)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ""
    return str(int(value)) if value.is_integer() and abs(value) <= MAX_EXACT else str(value)


def _decoded(value: bytes) -> str:
    try:
        return value.decode().strip()
    except UnicodeDecodeError:
        return ""  # no text: a photo's bytes, for one
