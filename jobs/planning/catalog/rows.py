"""What readers of catalog files give: rows of cells by column, or what is wrong with a row.

Knows the limits of a catalog; knows no file format.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dreamcache.core.errors import CatalogError
from dreamcache.core.texts import one_line, shown

MAX_CATALOG_BYTES = 1 << 30
"""Of a file, and of what a compressed one holds."""
MAX_CELL = 131_072
"""Characters of a cell; a longer one costs its row."""
MAX_ROW = 1 << 20
"""Characters of a row of a text file, line breaks in quoted cells included."""
MAX_ID_LENGTH = 200
MAX_COLUMNS = 1_000
MAX_ROWS = 20_000_000

Row = dict[str, Any] | str
"""A row by column name, or what is wrong with it. A row without any value has no columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that names no usable subject. `subject_id` is the row's own, cut to a printable length."""

    row: int
    subject_id: str
    code: str
    message: str


def bad_row(row: int, subject_id: str, code: str, message: str) -> BadRow:
    """A bad row whose texts are safe to show."""
    return BadRow(row=row, subject_id=one_line(subject_id[:80]), code=code, message=one_line(message))


def checked_names(names: Iterable[object], uri: str) -> list[str]:
    """Column names without spaces around them. Raises CatalogError when two are the same or there are too many.

    Columns without a name, as spreadsheets and index columns leave them, may be several.
    """
    texts = [str(name).strip().strip("\ufeff") for name in names]
    if len(texts) > MAX_COLUMNS:
        raise CatalogError(
            f"catalog '{uri}': must have at most {MAX_COLUMNS} columns, got {len(texts)}; remove some"
        )
    repeated = [name for name, count in Counter(texts).items() if count > 1 and name]
    if repeated:
        raise CatalogError(
            f"catalog '{uri}': must have each column once, got {shown(repeated[0])} twice; remove or rename one"
        )
    return texts


def too_long(name: str, length: int) -> str:
    """What is wrong with a row that has such a cell."""
    return f"the cell in column {shown(name)} may have at most {MAX_CELL:,} characters, has {length:,}; shorten it"


def id_problem(subject_id: str) -> str | None:
    """SKUs come in all forms; only what no report or terminal can show is refused."""
    if not subject_id:
        return "column 'subject_id' must not be empty"
    if len(subject_id) > MAX_ID_LENGTH:
        got = len(subject_id)
        return f"subject_id '{subject_id[:40]}...': at most {MAX_ID_LENGTH} characters, got {got}; shorten it"
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in subject_id):
        return f"subject_id {ascii(subject_id)[:80]}: must have no control characters; remove them"
    return None
