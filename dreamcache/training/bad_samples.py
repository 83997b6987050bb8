"""bad_samples.csv: the samples that a training passed over, a row each, for whoever corrects the data.

Knows CSV and spreadsheets; knows nothing of why a sample is bad.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from dreamcache.training.dataset import BadSample

BAD_SAMPLES = "bad_samples.csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run."""


def bad_samples_csv(samples: Iterable[BadSample]) -> bytes:
    """Columns sample (number, from 0), set (train or validation), where, code, message."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(("sample", "set", "where", "code", "message"))
    for one in samples:
        # `Trainer.all_bad` numbers those of a validation location of its own from -1 downwards.
        held_out = one.number < 0
        number = -1 - one.number if held_out else one.number
        writer.writerow(
            (number, "validation" if held_out else "train", *map(_plain, (one.where, one.code, one.message)))
        )
    return out.getvalue().encode()


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
