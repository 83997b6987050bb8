"""Samples that a training passes over: how many it may be, and bad_samples.csv for whoever corrects the data.

Knows CSV and spreadsheets; knows nothing of why a sample is bad.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from dreamcache.core.config.train import DataSettings
from dreamcache.core.errors import ImageError
from dreamcache.core.texts import one_line

logger = logging.getLogger(__name__)

BAD_SAMPLES = "bad_samples.csv"
MOST_BYTES = 64 << 20
"""Of a list that is read back: some 300,000 samples."""
_COLUMNS = ("sample", "set", "where", "code", "message")
_MOST_DIGITS = 15
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadSample:
    """A sample that cannot be used. where: its file, row or member; code and message: why."""

    number: int
    where: str
    code: str
    message: str


def check_bad(count: int, total: int, settings: DataSettings, path: str, last: str) -> None:
    """Raises ImageError `too_many_bad_samples` for more samples than the settings allow to be passed over."""
    allowed = settings.bad_samples_allowed(total)
    if count > allowed:
        raise ImageError(
            f"data '{path}': {count} of {total:,} samples cannot be used, data.max_bad_share "
            f"{settings.max_bad_share:g} allows {allowed}; the last one: {last}; correct them, or raise "
            f"data.max_bad_share",
            code="too_many_bad_samples",
        )


def bad_samples_csv(samples: Iterable[BadSample]) -> bytes:
    """Columns sample (number, from 0), set (train or validation), where, code, message."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for one in samples:
        # `Trainer.all_bad` numbers those of a validation location of its own from -1 downwards.
        held_out = one.number < 0
        number = -1 - one.number if held_out else one.number
        writer.writerow(
            (number, "validation" if held_out else "train", *map(_plain, (one.where, one.code, one.message)))
        )
    return out.getvalue().encode()


def listed_bad_samples(data: bytes) -> list[BadSample]:
    """What `bad_samples_csv` wrote, also once a spreadsheet has stored it; lines that it did not write are left out."""
    samples = []
    try:
        for row in csv.reader(io.StringIO(data.decode("utf-8-sig", errors="replace"), newline="")):
            if len(row) == len(_COLUMNS) and (number := _number(row[0], row[1])) is not None:
                where, code, message = (one_line(_unescaped(text)) for text in row[2:])
                samples.append(BadSample(number=number, where=where, code=code, message=message))
    except csv.Error as error:
        logger.warning("%s: the rest of it cannot be read (%s)", BAD_SAMPLES, error)
    return samples


def _number(text: str, part: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    return {"train": int(text), "validation": -1 - int(text)}.get(part)


def _unescaped(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
