"""spending.json: money that a job has spent and reserved, written before a batch begins.

    {"format": 1, "spent": 3.2, "reserved": 3.4}

A driver that is killed leaves what it had reserved, and the next run counts that as spent: so a limit holds over kills,
too. Knows the file; knows no price and no clock.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from dreamcache.storage.bounded import IsFolder, NotRegular, TooLarge
from dreamcache.storage.json_object import parse_object
from dreamcache.storage.open_store import open_store

SPENDING_FILE = "spending.json"
FORMAT = 1
MAX_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Spending:
    """In the currency of the job. reserved: at least spent."""

    spent: float = 0.0
    reserved: float = 0.0


def write_spending(output: str, spending: Spending) -> None:
    """Replaces the file. Raises StorageError."""
    value = {"format": FORMAT, **asdict(spending)}
    open_store(output).write(SPENDING_FILE, (json.dumps(value) + "\n").encode())


def read_spending(output: str) -> Spending | None:
    """What the last run has left; None where there is none, or a file that is damaged."""
    try:
        value = parse_object(open_store(output).read(SPENDING_FILE, MAX_BYTES))
    except (FileNotFoundError, ValueError, TooLarge, NotRegular, IsFolder):
        return None
    spent, reserved = _amount(value.get("spent")), _amount(value.get("reserved"))
    return None if spent is None or reserved is None else Spending(spent=spent, reserved=max(spent, reserved))


def _amount(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 1e15 else None
