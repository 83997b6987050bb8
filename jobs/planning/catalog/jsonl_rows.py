"""JSONL: one JSON object a line. A line that is none costs itself.

Knows JSON; knows nothing of what keys mean.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

from dreamcache.core.errors import CatalogError
from dreamcache.core.texts import shown
from jobs.planning.catalog.parts import Part
from jobs.planning.catalog.rows import MAX_ROW, Row

MAX_LINE_BYTES = 4 * MAX_ROW


def jsonl_rows(part: Part, data: bytes, needed: tuple[str, str]) -> Iterator[tuple[int, Row]]:
    """(line number, row) of every line that is not blank. Raises CatalogError for a file that holds no JSON lines."""
    # Bytes, not text: JSON may hold other line ends, such as U+2028, inside its texts.
    stream = part.lines_of(data)
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        is_long = len(line) > MAX_LINE_BYTES
        while is_long and (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
            _check_start(line, part.uri)
        if is_long:
            yield number, f"may have at most {MAX_LINE_BYTES:,} bytes, has more; shorten its values"
        elif line.strip():
            row = _parsed(line)
            if row != {}:
                yield number, row


def _check_start(line: bytes, uri: str) -> None:
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CatalogError(f"catalog '{uri}': must be UTF-8, got UTF-16; save it as UTF-8")
    if line.strip() == b"[":
        raise CatalogError(
            f"catalog '{uri}': must have a JSON object on each line, got one array; write its objects a line each"
        )


def _parsed(line: bytes) -> Row:
    try:
        row = json.loads(line.decode(), object_pairs_hook=_once, parse_constant=_nothing)
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair can be stored nowhere
    except (ValueError, RecursionError) as error:
        return f"must be a JSON object in UTF-8, got: {error}"
    return row if isinstance(row, dict) else f"must be a JSON object, got {type(row).__name__}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(repeated)} twice; remove one")
    return values


def _nothing(constant: str) -> None:
    """NaN and Infinity, which JSON does not have: an empty cell of the program that wrote them."""
