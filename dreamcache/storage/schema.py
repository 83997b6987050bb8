"""Arrow schemas of records: a dataclass alone states its columns.

    str | int | Int32 | float | bool | bytes | datetime | Literal | dataclass   ->  column type
    `... | None`                                                                ->  nullable

Knows dataclasses and Arrow; knows no record.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from dreamcache.core.records import Int32

TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    Int32: pa.int32(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def schema_of(record: type, *, required: bool = False) -> pa.Schema:
    """The columns of a dataclass, in the order of its fields; one that is a dataclass itself is a struct.

    required: fields that may not be None are columns without nulls; otherwise every column may have nulls. TypeError
    for a field of a type that has no column.
    """
    return pa.schema(_columns(record, required))


def union_of(*records: type) -> pa.Schema:
    """The columns of a table that holds records of several dataclasses; a field that is a dataclass gives its fields.

    The first record's columns come first; a column that only another has precedes the one that follows it there. A
    column has no nulls when every record has it and in none it may be None. TypeError as `schema_of`.
    """
    columns_of = [[part for column in _columns(r, True) for part in _flat(column)] for r in records]
    merged: list[pa.Field] = list(columns_of[0])
    for columns in columns_of[1:]:
        position = len(merged)
        for column in reversed(columns):
            names = [known.name for known in merged]
            if column.name in names:
                position = names.index(column.name)
            else:
                merged.insert(position, column)
    needed = [{column.name for column in columns if not column.nullable} for columns in columns_of]
    return pa.schema(
        [column.with_nullable(column.name not in set.intersection(*needed)) for column in merged]
    )


def _columns(record: type, required: bool) -> list[pa.Field]:
    hints = get_type_hints(record, include_extras=True)
    return [_column(field.name, hints[field.name], required) for field in fields(record)]


def _column(name: str, hint: Any, required: bool) -> pa.Field:
    nullable = not required
    if get_origin(hint) in (Union, UnionType):
        (inner,) = [option for option in get_args(hint) if option is not NoneType]
        hint, nullable = inner, True
    return pa.field(name, _type(name, hint), nullable=nullable)


def _type(name: str, hint: Any) -> pa.DataType:
    if get_origin(hint) is Literal:
        hint = type(get_args(hint)[0])
    if is_dataclass(hint) and isinstance(hint, type):
        return pa.struct(_columns(hint, False))
    if hint not in TYPES:
        raise TypeError(f"field '{name}': {hint} has no Arrow type; use one of {', '.join(map(str, TYPES))}")
    return TYPES[hint]


def _flat(column: pa.Field) -> list[pa.Field]:
    return list(column.type) if pa.types.is_struct(column.type) else [column]
