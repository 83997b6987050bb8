"""Settings of a row, from the columns that the job file maps: seed, strength, negative prompt.

Knows cells; knows nothing of photos or prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dreamcache.core.config.scenes import NO_OVERRIDES, Overrides
from dreamcache.core.texts import shown
from jobs.planning.catalog.cells import text_of
from jobs.planning.catalog.rows import MAX_CELL, too_long

SETTING_COLUMNS = ("seed", "strength", "negative_prompt")
"""Settings where the job file maps them; a column that only has such a name is an attribute."""
NUMBERS = {"seed": "a whole number", "strength": "a number from 0 to 1"}
MAX_NUMBER = 40
"""Characters of a cell that is read as a number."""


def mapped_settings(columns: Mapping[str, str]) -> tuple[str, ...]:
    """Those that the job file maps."""
    return tuple(name for name in SETTING_COLUMNS if name in columns)


def overrides_in(row: Mapping[str, object], columns: Mapping[str, str]) -> Overrides:
    """Of a row with our columns under our names; an empty cell is the job's.

    Raises ValueError that names setting, rule and value.
    """
    texts = {name: text for name in mapped_settings(columns) if (text := text_of(row.get(name)))}
    values: dict[str, Any] = dict(texts)
    for name in NUMBERS.keys() & texts.keys():
        number = _number(texts[name])
        if number is None or (name == "seed" and not isinstance(number, int)):
            raise ValueError(f"{name} must be {NUMBERS[name]}, got {shown(texts[name])}")
        values[name] = number
    if len(texts.get("negative_prompt", "")) > MAX_CELL:
        raise ValueError(too_long("negative_prompt", len(texts["negative_prompt"])))
    return Overrides(**values) if values else NO_OVERRIDES


def _number(text: str) -> int | float | None:
    """Of a cell as spreadsheets and pandas write it: 7 and 7.0 are the same whole number. None for any other text."""
    if len(text) > MAX_NUMBER or not text.isascii() or "_" in text:
        return None
    try:
        number = float(text)
        # The digits themselves where there are no others: a float holds no more than 2**53 whole numbers.
        return int(text) if text.lstrip("+-").isdigit() else int(number) if number.is_integer() else number
    except (ValueError, OverflowError):
        return None
