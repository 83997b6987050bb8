"""CSV as spreadsheets, databases and people write it, read strictly: an unclosed quote never swallows rows.

    bytes --encoding--> lines --records--> cells --header--> rows by column

A quote at the beginning of a cell opens it, and must be closed before the next separator or the end of the row; a
quote within a cell is text. Where a quote is not closed, its line is a bad row, and reading continues at the next
line: the standard library's reader would take the lines up to the next quote as one cell. Knows text; knows nothing of
what columns mean, but which ones are needed.
"""

from __future__ import annotations

import codecs
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from dreamcache.core.errors import CatalogError
from jobs.planning.catalog.folder import IMAGE_SUFFIXES
from jobs.planning.catalog.parts import Part
from jobs.planning.catalog.rows import MAX_ROW, Row, checked_names

SEPARATORS = (",", ";", "\t", "|")
MAX_BAD_SHARE = 0.1
"""Of lines that are not UTF-8: more of them are no damage, but a file in another encoding."""
_IN_QUOTES = re.compile(r'[^"]*+(?:""[^"]*+)*+')
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """One row of a file. lines: that it covers; problem: what is wrong with it, then it covers its first line only."""

    cells: list[str]
    lines: list[str]
    problem: str | None = None


class _Lines:
    """Lines with their ends, each at most MAX_ROW characters; lines may be given back."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text
        self._waiting: deque[str] = deque()

    def take(self) -> str:
        """The next line, "" at the end; of one that is too long, MAX_ROW + 1 characters."""
        if self._waiting:
            return self._waiting.popleft()
        line = self._text.readline(MAX_ROW + 1)
        if len(line) > MAX_ROW:
            while (rest := self._text.readline(MAX_ROW)) and not rest.endswith(("\n", "\r")):
                pass
        return line

    def give_back(self, lines: Sequence[str]) -> None:
        self._waiting.extendleft(reversed(lines))


def csv_rows(part: Part, data: bytes, needed: tuple[str, str]) -> Iterator[tuple[int, Row]]:
    """(row number as a spreadsheet shows it, row) of every row that is not blank. needed: our columns of id and photo.

    Raises CatalogError for a header or an encoding that makes the whole file unusable.
    """
    encoding = _encoding(part, data)
    text = io.TextIOWrapper(part.lines_of(data), encoding, "surrogateescape", newline="")
    lines = _Lines(text)
    try:
        yield from _rows(lines, part, needed)
    except UnicodeError as error:
        raise CatalogError(
            f"catalog '{part.uri}': must be UTF-8, is damaged {encoding} ({error}); save it as UTF-8"
        ) from error


def _rows(lines: _Lines, part: Part, needed: tuple[str, str]) -> Iterator[tuple[int, Row]]:
    number, separator, names = _header(lines, part, needed)
    photo = names.index(needed[1]) if needed[1] in names else None
    while record := _record(lines, separator):
        number += 1
        if (
            record.problem is None
            and len(record.lines) > 1
            and _holds_rows(record, separator, len(names), photo)
        ):
            lines.give_back(record.lines[1:])
            yield number, _unclosed(record, names, separator)
        elif record.problem is not None:
            yield number, record.problem
        elif any(cell and not cell.isspace() for cell in record.cells):
            yield number, _row(record.cells, names)


def _row(cells: list[str], names: list[str]) -> Row:
    if any(cell and not cell.isspace() for cell in cells[len(names) :]):
        return "has more cells than the header; quote cells that hold a comma"
    if any("\udc80" <= char <= "\udcff" for cell in cells if not cell.isascii() for char in cell):
        return "is not UTF-8; save the catalog as UTF-8"
    cells = [*cells, *[""] * (len(names) - len(cells))]
    return {name: cell for name, cell in zip(names, cells, strict=False) if name}


def _header(lines: _Lines, part: Part, needed: tuple[str, str]) -> tuple[int, str, list[str]]:
    """(rows before the first of data, separator, column names). The separator is the one that gives needed columns."""
    number, separator = 0, "\t" if part.is_tsv else ","
    choices = [separator, *(other for other in SEPARATORS if other != separator)]
    while line := lines.take():
        number += 1
        if match := _EXCEL_SEPARATOR.fullmatch(line):
            choices = [match[1]]
        elif line.strip(f" {''.join(choices)}\r\n\ufeff"):
            lines.give_back([line])
            break
    else:
        return 0, separator, []
    headers = {}
    for choice in choices:
        record = _record(lines, choice)
        lines.give_back(record.lines if record else [])
        if record and record.problem is None:
            headers[choice] = record
    if not headers:
        raise CatalogError(
            f"catalog '{part.uri}': its header, row {number}, must have its quotes closed; close them"
        )
    separator = _separator(headers, needed)
    _record(lines, separator)
    return number, separator, checked_names(headers[separator].cells, part.uri)


def _separator(headers: dict[str, _Record], needed: tuple[str, str]) -> str:
    for choice, record in headers.items():
        if {cell.strip() for cell in record.cells}.issuperset(needed):
            return choice
    first = next(iter(headers))
    # Nothing fits: the message about the missing column shows the names as they would be split best.
    return first if len(headers[first].cells) > 1 else max(headers, key=lambda one: len(headers[one].cells))


def _record(lines: _Lines, separator: str) -> _Record | None:
    """The next record, None at the end. After one with a problem, reading continues at the line after its first."""
    line = lines.take()
    if not line:
        return None
    if len(line) > MAX_ROW:
        return _Record(
            cells=[], lines=[line], problem=f"has more than {MAX_ROW:,} characters; shorten its cells"
        )
    if '"' not in line:
        return _Record(cells=line.rstrip("\r\n").split(separator), lines=[line])
    cells: list[str] = []
    covered, position = [line], 0
    while True:
        if not line.startswith('"', position):
            end = line.find(separator, position)
            if end < 0:
                return _Record(cells=[*cells, line[position:].rstrip("\r\n")], lines=covered)
            cells.append(line[position:end])
            position = end + 1
            continue
        text, line, position = _quoted(lines, covered, line, position + 1)
        if text is None or line[position : position + 1] not in (separator, "\r", "\n", ""):
            lines.give_back(covered[1:])
            return _Record(
                cells=cells, lines=covered[:1], problem=_quote_problem(len(cells), text, len(covered))
            )
        cells.append(text)
        if line[position : position + 1] != separator:
            return _Record(cells=cells, lines=covered)
        position += 1


def _quoted(lines: _Lines, covered: list[str], line: str, position: int) -> tuple[str | None, str, int]:
    """(text of a quoted cell, the line in which it ends, the position behind it); None where it does not end.

    covered: the record's lines so far; those that the cell covers are added.
    """
    pieces, length = [], sum(map(len, covered))
    while (end := _IN_QUOTES.match(line, position).end()) == len(line):  # type: ignore[union-attr]
        pieces.append(line[position:end])
        line, position = lines.take() if length <= MAX_ROW else "", 0
        if not line:
            return None, "", 0
        covered.append(line)
        length += len(line)
    pieces.append(line[position:end])
    position = end + 1
    while line.startswith(" ", position):
        position += 1
    return "".join(pieces).replace('""', '"'), line, position


def _quote_problem(column: int, text: str | None, num_lines: int) -> str:
    if text is not None and num_lines == 1:
        return f"cell {column + 1}: a closing quote is followed by text; double quotes that are text, or remove them"
    rule = "the quote that opens here is not closed in its row"
    return f"cell {column + 1}: {rule}; close it, or double it if it is text"


def _unclosed(record: _Record, names: list[str], separator: str) -> str:
    opened = record.lines[0].rstrip("\r\n").split(separator)
    column = next((n for n, cell in enumerate(opened) if cell.startswith('"')), len(names) - 1)
    return (
        f"{_quote_problem(column, None, len(record.lines))}; read as written, the cell would hold the next "
        f"{len(record.lines) - 1} rows"
    )


def _holds_rows(record: _Record, separator: str, width: int, photo: int | None) -> bool:
    """Whether the lines of a record look like rows of their own: then a quote was opened in one row by mistake, and
    closed by the mistake of another. Such a record is valid CSV that gives a product another one's photo."""
    rows = [line.rstrip("\r\n").split(separator) for line in record.lines]
    if len(rows[0]) != width:
        return False
    if width > 2 and all(len(row) == width for row in rows):
        return True
    if photo is None or not _is_photo(rows[0][photo]):
        return False
    return any(len(row) == width and _is_photo(row[photo]) for row in rows[1:])


def _is_photo(cell: str) -> bool:
    text = cell.strip(' "').lower()
    return text.endswith(IMAGE_SUFFIXES) or "://" in text


def _encoding(part: Part, data: bytes) -> str:
    """Raises CatalogError for a file that is in no Unicode encoding."""
    head = part.lines_of(data).read(4)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(head) >= 2 and 0 in head[:2]:
        raise CatalogError(
            f"catalog '{part.uri}': must be UTF-8, looks like UTF-16 without its mark; save it as UTF-8"
        )
    bad, num_lines, start, first = 0, 0, 0, 0
    stream = part.lines_of(data)
    while line := stream.readline(MAX_ROW):
        num_lines += bool(line.strip())
        position = _first_bad_byte(line)
        if position is not None:
            first = first if bad else start + position
            bad += 1
        start += len(line)
    if bad > MAX_BAD_SHARE * num_lines:
        first -= len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
        raise CatalogError(f"catalog '{part.uri}': must be UTF-8, byte {first} is not; save it as UTF-8")
    return "utf-8-sig"


def _first_bad_byte(line: bytes) -> int | None:
    if line.isascii():
        return None
    try:
        line.decode()
    except UnicodeDecodeError as error:
        is_cut = error.start >= len(line) - 3 and not line.endswith((b"\n", b"\r")) and len(line) >= MAX_ROW
        return None if is_cut else error.start
    return None
