"""The feed file of a channel: columns from the manifest's rows and the images' addresses, checked cell by cell.

    FeedSpec + columns of the manifest -> Feed.start(row) -> cells without addresses, breaches
                                          FeedFile.add(subject, entries) -> CSV, TSV or RSS 2.0

Knows columns and formats; knows no image.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from xml.sax.saxutils import escape

from dreamcache.core.errors import SpecError
from dreamcache.core.texts import shown
from jobs.channels.check import Breach
from jobs.channels.patterns import MATCH_S, fits
from jobs.channels.preset import Column, FeedSpec, Preset
from jobs.output.csv_file import FORMULA_STARTS

OF_IMAGES = ("url", "more_urls", "position")
NUMBERED = re.compile(r"url_(\d{1,3})")
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NAMESPACE = "http://base.google.com/ns/1.0"
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An accepted image in the feed. url: where it will be published."""

    row: Row
    url: str


def address(base_url: str, name: str) -> str:
    """The published address of a file: what an address may not hold is escaped."""
    return f"{base_url.rstrip('/')}/{quote(name)}"


class Feed:
    """The columns of a preset's feed that this manifest can fill. Raises SpecError for a required one it cannot."""

    def __init__(self, spec: FeedSpec, preset: Preset, columns: Sequence[str]) -> None:
        self.spec, self.channel = spec, preset.channel
        known = set(columns)
        self.columns: list[Column] = []
        self._templates: dict[str, list[str]] = {}
        self._seen: dict[str, dict[str, str]] = {}
        for column in spec.columns:
            usable = [text for text in column.value if _names_in(text) <= known]
            if not usable and column.required:
                raise SpecError(
                    f"preset {preset.channel}: feed column '{column.name}' needs {' or '.join(column.value)}, which "
                    f"the manifest has not; add the column to the catalog, or leave out --base-url"
                )
            if usable:
                self.columns.append(column)
                self._templates[column.name] = usable

    def cells(self, entries: Sequence[Entry], number: int) -> dict[str, str]:
        """Of the row of the image with this number, from 0; entries: of the subject, all or those so far."""
        values = {**entries[number].row, **_addresses(entries, number)}
        return {column.name: self._cell(column, values, number) for column in self.columns}

    def breaches(self, entries: Sequence[Entry], number: int) -> list[Breach]:
        """What is wrong with the row of this image, by its column."""
        cells, subject = self.cells(entries, number), str(entries[number].row["subject_id"])
        found = [self._problem(column, cells[column.name], number) for column in self.columns]
        return [breach for breach in (*found, *self._shared(cells, subject)) if breach is not None]

    def claim(self, entries: Sequence[Entry], number: int) -> None:
        """The row is accepted: what must be unique is its subject's from now on."""
        cells, subject = self.cells(entries, number), str(entries[number].row["subject_id"])
        for column in self.columns:
            if column.unique:
                self._seen.setdefault(column.name, {}).setdefault(cells[column.name].casefold(), subject)

    def _cell(self, column: Column, values: Mapping[str, Any], number: int) -> str:
        if column.first_row_only and number:
            return ""
        texts = (_filled(template, values) for template in self._templates[column.name])
        text = next((text for text in texts if text), "")
        return _handle(text) if column.form == "handle" else text

    def _problem(self, column: Column, text: str, number: int) -> Breach | None:
        if column.first_row_only and number:
            return None
        if not text:
            return _breach(column, "a text", "none") if column.required else None
        if text[0] in FORMULA_STARTS and not _is_number(text):
            return _breach(
                column, f"a text that does not begin with {text[0]!r}, which spreadsheets run", text
            )
        if column.max_length is not None and len(text) > column.max_length:
            by = f"{len(text) - column.max_length} characters too much"
            return _breach(column, f"at most {column.max_length} characters", f"{len(text)} characters", by)
        if column.pattern is not None and not self._fits(column, text):
            return _breach(column, f"a text of the form {column.pattern}", text)
        if column.one_of and text not in column.one_of:
            return _breach(column, f"one of {', '.join(column.one_of)}", text)
        return None

    def _fits(self, column: Column, text: str) -> bool:
        try:
            return fits(column.pattern or "", text)
        except TimeoutError as error:
            raise SpecError(
                f"preset {self.channel}: feed column '{column.name}': pattern {shown(column.pattern)} must match a "
                f"text within {MATCH_S:g} s, takes longer with one of {len(text)} characters; write it without nested "
                "repetitions"
            ) from error

    def _shared(self, cells: Mapping[str, str], subject: str) -> list[Breach]:
        found = []
        for column in self.columns:
            owner = self._seen.get(column.name, {}).get(cells[column.name].casefold(), subject)
            if column.unique and owner != subject:
                got = f"'{cells[column.name]}', which subject '{owner}' has"
                found.append(_breach(column, "a text of its own", got))
        return found


class FeedFile:
    """`with FeedFile(path, feed, title) as file: file.add(entries)`: the rows of one subject after the other, UTF-8."""

    def __init__(self, path: Path, feed: Feed, title: str, *, link: str) -> None:
        """title, link: of an RSS channel."""
        self.feed, self.num_rows = feed, 0
        self._file = path.open("w", encoding="utf-8", newline="")
        self._names = [feed.spec.name_of(column) for column in feed.columns]
        self._is_rss = feed.spec.format == "rss"
        delimiter = "\t" if feed.spec.format == "tsv" else ","
        self._lines = csv.writer(self._file, delimiter=delimiter, lineterminator="\r\n")
        if self._is_rss:
            self._file.write(
                f'<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0" xmlns:g="{NAMESPACE}">\n<channel>\n'
                f"<title>{_xml(title)}</title>\n<link>{_xml(link)}</link>\n"
                f"<description>{_xml(title)}</description>\n"
            )
        else:
            self._lines.writerow(self._names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_rss and error is None:
            self._file.write("</channel>\n</rss>\n")
        self._file.close()

    def add(self, entries: Sequence[Entry]) -> None:
        """The rows of one subject."""
        for number in range(len(entries) if self.feed.spec.row_per == "image" else 1):
            cells = self.feed.cells(entries, number)
            self.num_rows += 1
            if self._is_rss:
                texts = zip(self._names, (cells[column.name] for column in self.feed.columns), strict=True)
                lines = (f"<g:{name}>{_xml(text)}</g:{name}>" for name, text in texts if text)
                self._file.write("<item>\n" + "\n".join(lines) + "\n</item>\n")
            else:
                self._lines.writerow([cells[name] for name in self._names])


def _addresses(entries: Sequence[Entry], number: int) -> dict[str, str]:
    urls = [entry.url for entry in entries]
    numbered = {f"url_{place}": url for place, url in enumerate(urls, start=1)}
    # A list is separated by commas, so that one inside an address is escaped.
    more = ",".join(url.replace(",", "%2C") for url in urls[1:])
    return {**numbered, "url": urls[number], "more_urls": more, "position": str(number + 1)}


def _names_in(template: str) -> set[str]:
    """Columns of the manifest that a template names. Raises SpecError for a template that is none."""
    try:
        names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise SpecError(f"preset: feed template '{template}': {error}; correct it") from error
    return {name for name in names if name not in OF_IMAGES and not NUMBERED.fullmatch(name)}


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """The template's text in one line; empty where a column of it is."""
    parts = []
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            value = values.get(name)
            text = "" if value is None else " ".join(str(value).split())
            if not text:
                return ""
            parts.append(text)
    return "".join(parts)


def _handle(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", text) is not None


def _xml(text: str) -> str:
    return escape(NOT_XML.sub("\ufffd", text))


def _breach(column: Column, required: str, got: str, by: str = "") -> Breach:
    return Breach(rule=f"feed:{column.name}", level="required", required=required, measured=got[:200], by=by)
