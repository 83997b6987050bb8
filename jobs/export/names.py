"""File names from a layout and a row: `{subject_id}/{sample}-{item_id}.{ext}`, safe on every system, and unique.

A value never leaves its place in the path: slashes and whatever else a file system or a browser could take for its own
are written as %XX, as in an address; letters of every script stay as they are. Knows rows; knows no storage.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np

from dreamcache.core.errors import SpecError, did_you_mean
from dreamcache.storage.item_keys import EXTENSIONS

DEFAULT_LAYOUT = "{subject_id}/{sample}-{item_id}.{ext}"
RESERVED = set('/\\:*?"<>|%')
JOINERS = "\u200c\u200d"  # invisible, and part of words in several scripts
DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
MAX_WIDTH = 200  # of a format such as {sample:03d}
LONGEST = 200  # bytes of one part of a path; file systems end at 255

Row = Mapping[str, Any]


class Layout:
    """A pattern over the manifest's columns and `ext`. Raises SpecError when it can name no file.

    free_dots: whether values may hold dots; WebDataset ends a sample's name at its first one.
    """

    def __init__(self, pattern: str, columns: Sequence[str], *, free_dots: bool = True) -> None:
        self.pattern = pattern
        self.free_dots = free_dots
        self.parts = [self._parsed(part, columns) for part in pattern.split("/")]
        literal = "".join(text for part in self.parts for text, _, _ in part)
        names = {name for part in self.parts for _, name, _ in part}
        if pattern.startswith("/") or set(pattern.split("/")) & {"", ".", ".."} or RESERVED & set(literal):
            raise self._error(
                "must be a relative path without '..', '\\', ':', '*', '?', '\"', '<', '>', '|' or '%'"
            )
        if "ext" in names and not pattern.endswith(".{ext}"):
            raise self._error("{ext} must be the end")
        if "ext" not in names:
            raise self._error("must end with .{ext}")

    @property
    def is_by_item(self) -> bool:
        """Whether names hold the whole item id, which decides what is in the file."""
        return any(name == "item_id" and not spec for part in self.parts for _, name, spec in part)

    def name_of(self, row: Row) -> str:
        """The row's file, relative to the target, with '/' between folders."""
        return "/".join(self._component(part, row) for part in self.parts)

    def _parsed(self, part: str, columns: Sequence[str]) -> list[tuple[str, str | None, str]]:
        try:
            parsed = list(Formatter().parse(part))
        except ValueError as error:
            raise self._error(f"{error}") from error
        known = ("ext", *columns)
        for _, name, spec, conversion in parsed:
            if name is not None and name not in known:
                raise self._error(
                    f"unknown column {{{name}}}{did_you_mean(name, known)}; known are {', '.join(known)}"
                )
            if conversion or "{" in (spec or ""):
                raise self._error(
                    f"{{{name}}} must be a column, with a plain format at most ({{sample:03d}})"
                )
            widths = re.findall(r"\d+", spec or "")  # of every script, as format() reads them
            if any(len(width) > 4 or int(width) > MAX_WIDTH for width in widths):
                raise self._error(f"{{{name}:{spec}}} must be at most {MAX_WIDTH} characters wide")
        return [(text, name, spec or "") for text, name, spec, _ in parsed]

    def _component(self, part: list[tuple[str, str | None, str]], row: Row) -> str:
        text, ending = "", ""
        for literal, name, spec in part:
            text += literal
            if name == "ext":
                ending = "." + _extension(row["key"])
                text = text.removesuffix(".")
            elif name is not None:
                text += self._value(name, row[name], spec)
        if not self.free_dots:
            text = text.replace(".", "%2E")
        return _whole(text, ending) + ending

    def _value(self, name: str, value: Any, spec: str) -> str:
        try:
            return _safe(format("" if value is None else value, spec if value is not None else ""))
        except (ValueError, TypeError) as error:
            raise self._error(f"{{{name}:{spec}}} does not fit {value!r}: {error}") from error

    def _error(self, why: str) -> SpecError:
        return SpecError(f"--layout '{self.pattern}': {why}")


class Names:
    """(name, row) of every row of `rows`, each name once. numbered: rows that would share one get their item's first
    digits at its end; otherwise SpecError `name_collision` before anything is written.

    Names are compared without case and in one Unicode form, as Windows and macOS do.
    """

    def __init__(self, rows: Iterable[Row], layout: Layout, *, numbered: bool) -> None:
        self.rows = rows
        self.layout = layout
        hashes, self.num_bytes = array("Q"), 0
        for row in rows:
            hashes.append(_hash(layout.name_of(row)))
            self.num_bytes += row["num_bytes"] or 0
        self.total = len(hashes)
        ordered = np.sort(np.frombuffer(hashes, np.uint64)) if hashes else np.empty(0, np.uint64)
        # Eight bytes a name: of ten million rows it holds 80 MB, and of a collision only the hash.
        self.shared = {int(value) for value in ordered[1:][ordered[1:] == ordered[:-1]]}
        if self.shared and not numbered:
            raise self._collision()

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        for row in self.rows:
            name = self.layout.name_of(row)
            if self.shared and _hash(name) in self.shared:
                stem, dot, ending = name.rpartition(".")
                name = f"{stem}~{_safe(row['item_id'][:12])}{dot}{ending}"
            yield name, row

    def _collision(self) -> SpecError:
        first: dict[int, Row] = {}
        for row in self.rows:
            name = self.layout.name_of(row)
            digest = _hash(name)
            if digest in first:
                both = (first[digest], row)
                who = " and ".join(f"item {r['item_id'][:12]} (subject '{r['subject_id']}')" for r in both)
                return SpecError(
                    f"--layout '{self.layout.pattern}': each image must have a name of its own, {len(self.shared)} "
                    f"names have more than one; '{name}' is of {who}; add {{item_id}} or {{sample}}, or "
                    f"--on-collision number",
                    code="name_collision",
                )
            if digest in self.shared:
                first[digest] = row
        raise AssertionError("unreachable")


def _extension(key: object) -> str:
    ending = str(key).rpartition(".")[2]
    return ending if ending in EXTENSIONS else "bin"  # such a key is no item's, and its image is not read


def _hash(name: str) -> int:
    same = unicodedata.normalize("NFC", name).casefold()
    return int.from_bytes(hashlib.blake2b(same.encode(), digest_size=8).digest(), "big")


def _safe(value: str) -> str:
    text = unicodedata.normalize("NFC", value)
    return "".join(char if _harmless(char) else _escaped(char) for char in text)


def _harmless(char: str) -> bool:
    if char.isascii():
        return char.isprintable() and char not in RESERVED
    return char in JOINERS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _whole(text: str, ending: str) -> str:
    """One part of a path: not hidden, not '..', no name of a Windows device, and not too long."""
    if text[:1] in (".", " "):
        text = _escaped(text[0]) + text[1:]
    if text[-1:] in (".", " "):
        text = text[:-1] + _escaped(text[-1])
    if not text or DEVICES.fullmatch(text):
        text = "_" + text
    if len(text.encode()) > LONGEST:
        mark = "~" + hashlib.sha256(text.encode()).hexdigest()[:12]
        text = text.encode()[: LONGEST - len(mark) - len(ending)].decode(errors="ignore") + mark
    return text
