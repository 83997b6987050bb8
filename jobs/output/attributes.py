"""The catalog's further columns in the manifest: each as text, as prompts use it, and as `attr_<name>` with its type.

    attributes, typed of every plan row --of_plan--> one type a column, of the whole catalog --columns--> Arrow arrays

A column whose values are all numbers is a number, one whose values are all lists is a list; a mixed one is text. The
type follows from the whole plan: every part of a manifest has the same one. Knows plan rows; knows no other column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.planning.catalog.cells import text_of

PREFIX = "attr_"
OF_ATTRIBUTE = b"dreamcache.attribute"
"""Key of an Arrow field's metadata: the catalog's column whose typed values the field holds."""
COLUMNS = ("attributes", "typed")
"""Of the plan: what is read here."""
EXACT_IN_FLOAT = 2**53
"""Above it a float does not hold every whole number."""

Row = tuple[dict[str, str], dict[str, Any]]
"""(texts, values that are no text) of one row of the catalog, by column."""


@dataclass(kw_only=True, slots=True)
class _Seen:
    """The kinds of values of one column; `members` of its lists."""

    scalars: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    has_lists: bool = False

    def add(self, text: str, value: Any) -> None:
        if isinstance(value, list):
            self.has_lists = True
            self.members.update(_kind(member) for member in value if member is not None)
        elif value is not None:
            self.scalars.add(_kind(value))
        elif text:
            self.scalars.add("text")

    @property
    def type(self) -> pa.DataType:
        if self.has_lists:
            return pa.string() if self.scalars else pa.list_(_scalar_type(self.members))
        return _scalar_type(self.scalars)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attributes:
    """types: of the `attr_` columns, by the catalog's columns, in the catalog's order."""

    types: Mapping[str, pa.DataType] = field(default_factory=dict)

    def names(self, ours: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """(text columns, typed columns) of the manifest, by the catalog's columns. ours: names that we use."""
        texts = column_names(self.types, ours)
        taken = {*ours, *texts.values()}
        typed: dict[str, str] = {}
        for name in self.types:
            column = f"{PREFIX}{name}"
            while column in taken:
                column = f"{PREFIX}{column}"
            taken.add(column)
            typed[name] = column
        return texts, typed

    def fields(self, ours: Iterable[str]) -> list[pa.Field]:
        """The manifest's fields of these columns: the texts, then the typed ones."""
        texts, typed = self.names(ours)
        fields = [pa.field(column, pa.string()) for column in texts.values()]
        return fields + [
            pa.field(column, self.types[name], metadata={OF_ATTRIBUTE: name.encode()})
            for name, column in typed.items()
        ]

    def columns(self, planned: pa.Table, ours: Iterable[str]) -> dict[str, pa.Array]:
        """The values of `fields` for plan rows, by column. Rows with equal texts are parsed once."""
        texts, typed = self.names(ours)
        rows, indices = _distinct(planned)
        columns = {
            column: pa.array([row.get(name) for row, _ in rows], pa.string()).take(indices)
            for name, column in texts.items()
        }
        for name, column in typed.items():
            kind = self.types[name]
            values = [_as(kind, row.get(name), values.get(name)) for row, values in rows]
            columns[column] = pa.array(values, kind).take(indices)
        return columns


def of_plan(tables: Iterable[pa.Table], names: Sequence[str] = ()) -> Attributes:
    """The attributes of all rows of a plan. tables: at least COLUMNS; names: columns to have in any case, first."""
    seen = {name: _Seen() for name in names}
    for table in tables:
        for texts, values in _distinct(table)[0]:
            for name, text in texts.items():
                seen.setdefault(name, _Seen()).add(text, values.get(name))
    return Attributes(types={name: kinds.type for name, kinds in seen.items()})


def column_names(attributes: Iterable[str], ours: Iterable[str]) -> dict[str, str]:
    """The text column of each of the catalog's columns: its own name, with `catalog_` before one of `ours`."""
    names, taken = list(attributes), set(ours)
    columns = {}
    for name in names:
        column = name
        while column in taken or (column != name and column in names):
            column = f"catalog_{column}"
        columns[name] = column
    return columns


def without_typed(table: pa.Table) -> pa.Table:
    """The table without `attr_` columns, whose values are also there as text."""
    return table.select(
        [column.name for column in table.schema if OF_ATTRIBUTE not in (column.metadata or {})]
    )


def _distinct(planned: pa.Table) -> tuple[list[Row], pa.Array]:
    """(the different rows, which of them each plan row has). A subject's plan rows are equal here."""
    texts, typed = (planned[name].combine_chunks().fill_null("{}").dictionary_encode() for name in COLUMNS)
    codes = np.asarray(texts.indices, np.int64) * max(len(typed.dictionary), 1) + np.asarray(typed.indices)
    different, indices = np.unique(codes, return_inverse=True)
    objects, values = (
        [json.loads(text) for text in column.dictionary.to_pylist()] for column in (texts, typed)
    )
    rows = [(objects[code // len(values)], values[code % len(values)]) for code in different.tolist()]
    return rows, pa.array(indices)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if abs(value) <= EXACT_IN_FLOAT else "long"
    return "float" if isinstance(value, float) else "text"


def _scalar_type(kinds: set[str]) -> pa.DataType:
    if kinds == {"bool"}:
        return pa.bool_()
    if kinds and kinds <= {"int", "long"}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {"int", "float"} else pa.string()


def _as(kind: pa.DataType, text: str | None, value: Any) -> Any:
    """A value in its column's type; None for an empty cell."""
    if pa.types.is_list(kind):
        members = value if isinstance(value, list) else None
        return members and [_as(kind.value_type, _text(member), member) for member in members]
    if pa.types.is_string(kind):
        return text or None
    return float(value) if value is not None and pa.types.is_floating(kind) else value


def _text(member: Any) -> str | None:
    return None if member is None else text_of(member)
