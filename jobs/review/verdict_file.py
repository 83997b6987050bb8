"""review.csv as the gallery hands it out, and as spreadsheets and data frames write it again.

    bytes --encoding, separator--> cells --header--> GivenVerdict | Problem, a row each

A cell that the gallery quoted, because it begins like a formula, is read without that quote. Rows without a verdict are
passed over. Knows text; knows neither the job nor its items.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dreamcache.core.errors import DreamCacheError
from dreamcache.core.texts import shown
from dreamcache.storage.item_keys import is_item_id
from dreamcache.storage.open_store import read_bounded
from dreamcache.storage.reviews import Decision
from jobs.output.csv_file import FORMULA_STARTS

MOST_BYTES = 64 << 20
MOST_PROBLEMS = 10_000
MOST_COLUMNS = 1000
NEEDED = ("item_id", "verdict")
MOST = {"reviewer": 100, "reason": 200, "note": 2000}
"""Characters of a cell."""
DECISION_OF: Mapping[str, Decision] = {
    "approve": "approved",
    "approved": "approved",
    "reject": "rejected",
    "rejected": "rejected",
    "undo": "withdrawn",
    "withdrawn": "withdrawn",
}
SEPARATORS = (",", ";", "\t", "|")
CLOCKS_APART = timedelta(days=1)
_ROWS_WITHIN = re.compile(r"[\r\n][\"']?[0-9a-f]{64}[\"']?[,;\t|]")


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenVerdict:
    """A row with a verdict. row: as a spreadsheet numbers it; decided_at: None where the file does not state it."""

    row: int
    item_id: str
    decision: Decision
    reviewer: str
    reason: str | None
    note: str | None
    decided_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a row cannot be recorded."""

    row: int
    item_id: str
    message: str


def read_verdicts(uri: str) -> Iterator[GivenVerdict | Problem]:
    """Every row with a verdict. Raises DreamCacheError `bad_review` for a file that is no list of verdicts."""
    try:
        text = _decoded(read_bounded(uri, MOST_BYTES))
    except FileNotFoundError as error:
        raise _bad(uri, "must be a file that the gallery handed out, got none", "check the path") from error
    except UnicodeError as error:
        raise _bad(uri, f"must be text, got bytes that are none ({error})", "save it as CSV UTF-8") from error
    start, separator = _separator(text)
    # A cell longer than csv's own limit costs its row: `_row` knows what may be how long.
    csv.field_size_limit(MOST_BYTES)
    lines = csv.reader(io.StringIO(text[start:], newline=""), delimiter=separator, strict=True)
    skipped = text[:start].count("\n")
    try:
        names = [name.strip().lower() for name in next(lines, [])]
        _check_header(uri, names)
        row, num_problems = 1 + skipped, 0
        for cells in lines:
            row += 1
            values = {name: _cell(cell) for name, cell in zip(names, cells, strict=False) if name}
            if one := _row(row, values, has_more=len(cells) > len(names)):
                num_problems += isinstance(one, Problem)
                if num_problems > MOST_PROBLEMS:
                    rule = (
                        f"must have at most {MOST_PROBLEMS:,} rows that cannot be read, row {row} is one more"
                    )
                    raise _bad(uri, rule, "hand the file out again")
                yield one
    except csv.Error as error:
        remedy = "close its quotes, or hand the file out again"
        raise _bad(uri, f"must be CSV, row {lines.line_num + skipped} is not ({error})", remedy) from error


def parsed(row: int, values: Mapping[str, str]) -> GivenVerdict | Problem:
    """A verdict by the names of its columns, stripped; or what is wrong with it."""
    item_id = values.get("item_id", "")
    decision, problem = DECISION_OF.get(values.get("verdict", "").lower()), _problem(values)
    if problem is not None or decision is None:
        return Problem(row=row, item_id=item_id[:64], message=problem or "has no verdict")
    return GivenVerdict(
        row=row,
        item_id=item_id,
        decision=decision,
        reviewer=values.get("reviewer", ""),
        reason=values.get("reason") or None,
        note=values.get("note") or None,
        decided_at=_time_of(values.get("decided_at", "")),
    )


def _row(row: int, values: Mapping[str, str], *, has_more: bool) -> GivenVerdict | Problem | None:
    """None for a row without a verdict."""
    item_id = values.get("item_id", "")[:64]
    if has_more:
        rule = "has more cells than the header; quote cells that hold the separator"
        return Problem(row=row, item_id=item_id, message=rule)
    if any(map(_ROWS_WITHIN.search, values.values())):
        rule = "holds further rows in one cell; close the quote that opens there"
        return Problem(row=row, item_id=item_id, message=rule)
    return parsed(row, values) if values.get("verdict") else None


def _problem(values: Mapping[str, str]) -> str | None:
    item_id, word = values.get("item_id", ""), values.get("verdict", "")
    if not is_item_id(item_id):
        return f"item_id must be an id of the manifest, got {shown(item_id)}"
    if word.lower() not in DECISION_OF:
        return f"verdict must be approve, reject or undo, got {shown(word)}"
    moment = _time_of(values.get("decided_at", ""))
    if moment is not None and moment > datetime.now(UTC) + CLOCKS_APART:
        return f"decided_at must not be in the future, got {moment.isoformat()}; correct the reviewer's clock"
    for name, most in MOST.items():
        if len(values.get(name, "")) > most:
            return f"{name} must have at most {most} characters, has {len(values[name])}; shorten it"
    return None


def _time_of(text: str) -> datetime | None:
    """A moment in ISO 8601, UTC where it names no zone; None where it is not one."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _cell(text: str) -> str:
    """Without the quote that keeps a spreadsheet from running it, and without characters that no file can store."""
    text = text.strip().replace("\0", "")
    return text[1:] if text[:1] == "'" and text[1:2] in FORMULA_STARTS and len(text) > 1 else text


def _decoded(data: bytes) -> str:
    """UTF-8, UTF-16 as Excel's Unicode text has it, or else Windows-1252, as Excel's plain CSV has it."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _separator(text: str) -> tuple[int, str]:
    """(where the header begins, the character between its names)."""
    start, end = 0, text.find("\n") if "\n" in text else len(text)
    first = text[:end].strip()
    if first[:4].lower() == "sep=" and len(first) == 5:
        return end + 1, first[4]
    header = text[start:end]
    return start, max(SEPARATORS, key=header.count)


def _check_header(uri: str, names: list[str]) -> None:
    if len(names) > MOST_COLUMNS:
        rule = f"must have at most {MOST_COLUMNS:,} columns, has {len(names):,}"
        raise _bad(uri, rule, f"keep those of review.csv: {', '.join(NEEDED)} and so on")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        got = ", ".join(name for name in names if name)[:200] or "nothing"
        raise _bad(uri, f"must have columns {' and '.join(missing)}, got {got}", "hand the file out again")
    if twice := next((name for name, count in Counter(names).items() if name and count > 1), None):
        raise _bad(uri, f"must name each column once, got {shown(twice)} twice", "remove one of them")


def _bad(uri: str, rule: str, remedy: str) -> DreamCacheError:
    return DreamCacheError(f"{uri}: {rule}; {remedy}", code="bad_review")
