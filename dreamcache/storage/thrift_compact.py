"""Thrift's compact protocol, in which Parquet states its footer and page headers: a struct as plain values.

    bytes at a position -> {field: int | bytes | list | dict}, and where the struct ends

Every count is checked against the bytes that are left, so a few bytes never become many values. Knows no Parquet.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_DEPTH = 16
BOOLEANS, BYTE, INTEGERS, DOUBLE, BINARY, LISTS, MAP, STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 11, 12

Value = object
Struct = dict[int, Value]


class ThriftError(ValueError):
    """Bytes that are no struct of the compact protocol. The text states the rule and what to do."""


class CompactReader:
    """Reads from `position` on. Raises ThriftError."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position = data, position

    def struct(self) -> Struct:
        """The struct at the position, which then stands behind it."""
        try:
            return self._struct(0)
        except IndexError as error:
            raise ThriftError("must be whole, is cut off; write the file again") from error

    def _struct(self, depth: int) -> Struct:
        if depth > MAX_DEPTH:
            raise ThriftError("must have few levels, has many; write the file again")
        fields: Struct = {}
        field = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            field = field + step if step else self._number()
            fields[field] = kind == 1 if kind in BOOLEANS else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Value:
        if kind in INTEGERS:
            return self._number()
        readers: dict[int, Callable[[int], Value]] = {
            BYTE: lambda _: self._byte(),
            DOUBLE: lambda _: self._bytes(8),
            BINARY: lambda _: self._bytes(self._unsigned()),
            MAP: self._map,
            STRUCT: lambda depth: self._struct(depth + 1),
            **dict.fromkeys(BOOLEANS, lambda _: self._byte()),
            **dict.fromkeys(LISTS, self._list),
        }
        if kind not in readers:
            raise ThriftError(f"must be Thrift, has a field of type {kind}; write the file again")
        return readers[kind](depth)

    def _list(self, depth: int) -> list[Value]:
        head = self._byte()
        count = self._counted(head >> 4 if head >> 4 != 15 else self._unsigned())
        return [self._value(head & 15, depth + 1) for _ in range(count)]

    def _map(self, depth: int) -> list[Value]:
        count = self._counted(self._unsigned())
        kinds = self._byte() if count else 0
        return [self._value(kind, depth + 1) for _ in range(count) for kind in (kinds >> 4, kinds & 15)]

    def _counted(self, count: int) -> int:
        left = len(self.data) - self.position
        if count > left:
            raise ThriftError(
                f"must fit into its bytes, states {count} members in {left}; write the file again"
            )
        return count

    def _bytes(self, count: int) -> bytes:
        self.position += self._counted(count)
        return self.data[self.position - count : self.position]

    def _byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ThriftError("must have numbers of 64 bits at most, has a longer one; write the file again")

    def _number(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
