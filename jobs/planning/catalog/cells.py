"""A cell's value as text, whatever type a file gives it. Numbers, dates, lists and bytes keep their values.

Knows values of Python, JSON and Arrow; knows nothing of columns.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

PROMPT_SEPARATOR = "|"
MAX_EXACT = 2.0**53
"""Above it a float no longer holds every whole number."""
MAX_INT64 = 2**63
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,15})?")
"""A number as a text file holds it. Digits with a zero before them are a code, not a number."""
FLOAT_DIGITS = 16
"""Of a fraction as text, with its point: a float keeps no more."""
BOOLEANS = {"true": True, "false": False}


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


def typed_of(value: object, *, is_text_file: bool) -> bool | int | float | list[object] | None:
    """The value as JSON holds it, if it is a number, a boolean or a list of such and texts; None for everything else.

    is_text_file: the file has no types, as CSV; texts that are numbers or `true` and `false` are these then.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, Decimal) and value.is_finite():
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, int):
        return value if -MAX_INT64 <= value < MAX_INT64 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _typed_text(value.strip()) if is_text_file else None
    return _typed_list(value) if isinstance(value, (list, tuple)) else None


def _typed_text(text: str) -> bool | int | float | None:
    match = NUMBER.fullmatch(text)
    if match is None:
        return BOOLEANS.get(text.lower())
    if not match[2]:
        return int(text)
    return float(text) if len(text) <= FLOAT_DIGITS else None


def _typed_list(values: Sequence[object]) -> list[object] | None:
    """None for a list that holds lists or objects."""
    members: list[object] = []
    for value in values:
        typed = typed_of(value, is_text_file=False)
        if isinstance(value, (list, tuple, Mapping)):
            return None
        members.append(typed if typed is not None or value is None else text_of(value))
    return members


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
