"""A preset's regular expressions, with a limit on what one may cost: a file of the user's own may hold any.

    pattern --checked--> compiled --matched for at most MATCH_S--> yes | no | SpecError

`re` knows no limit of time, and `regex` copies what is counted, so large counts are refused before they are compiled.
Knows patterns and texts; knows nothing of columns.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import prod

import regex

MATCH_S = 1.0
"""Of one text. A sound pattern takes a thousandth of it."""
MOST_LETTERS = 500
MOST_COPIES = 10_000
"""All counts of a pattern, {3} or {2,5}, multiplied: nested ones may be multiplied indeed."""
_COUNTS = re.compile(r"\{(\d*)(?:,(\d*))?\}")


@lru_cache(maxsize=256)
def compiled(pattern: str) -> regex.Pattern[str]:
    """Raises ValueError, whose text follows "must be", for what is no pattern or may cost too much."""
    if len(pattern) > MOST_LETTERS:
        raise ValueError(f"a regular expression of at most {MOST_LETTERS} letters, has {len(pattern)}")
    # A number of ten digits is too large already, and a longer one would take time itself.
    counts = [max(int(number[:10] or 1) for number in found) for found in _COUNTS.findall(pattern)]
    if prod(max(1, count) for count in counts) > MOST_COPIES:
        raise ValueError(f"a regular expression whose counts multiply to at most {MOST_COPIES:,}")
    try:
        return regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"a regular expression ({error})") from error


def fits(pattern: str, text: str) -> bool:
    """Whether the whole text is of the pattern's form. Raises TimeoutError after MATCH_S."""
    return compiled(pattern).fullmatch(text, timeout=MATCH_S) is not None
