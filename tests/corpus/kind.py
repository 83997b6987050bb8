"""What the corpus is made of: kinds of input, each with its inputs and the one outcome that all of them must have.

    KINDS = [Kind(name="photo/empty-file", door="photo", code="empty_file", inputs={"zero bytes": write_bytes(b"")})]

A module of kinds per area (`photos.py`, `rows.py`, ...) holds such a list; a test module per door presents its inputs.
The outcome is written before the product is changed. No input needs a file in git: each is built when it is used.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tests.corpus

Door = Literal[
    "photo", "mask", "row", "catalog", "spec", "arguments", "output", "cache", "adapter", "base", "shard"
]
"""Where an input enters the product.

photo, mask: a file; the input returns what a catalog's row names: a path relative to the folder, or a URI.
row: the cells of one row beside good ones, as a dict that is written as JSON; "image" and "subject_id" may be left out.
catalog, spec: a whole file, or a folder; the input returns its path.
arguments: a command line, as a list.
output, cache, adapter, base, shard: a good folder or file at `folder` is damaged in place; returns the path it damaged.
"""

Write = Callable[[Path], object]
"""Writes one input into an empty folder, or damages the good output, cache, adapter or base in it: see `Door`."""

USED = ""
"""The code of an input that is good, however odd it looks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """name: area/what. code: the error code that each input must end with; USED where it is good.

    exit_code: of a command that meets it: 3 where one item fails, 1 or 2 where nothing can be run, 0 where it is good.
    s3: whether the inputs can be uploaded as they are; False for devices, links, pipes and the like.
    """

    name: str
    door: Door
    code: str
    inputs: dict[str, Write]
    exit_code: int = 3
    s3: bool = True


def all_kinds() -> list[Kind]:
    """Every kind of every area, in a stable order."""
    kinds: list[Kind] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(tests.corpus.__path__)):
        if not module.startswith("test_") and module != "kind":
            kinds += getattr(importlib.import_module(f"tests.corpus.{module}"), "KINDS", [])
    return kinds


def cases(*doors: Door) -> Iterator[tuple[Kind, str]]:
    """Each input of these doors, for `pytest.mark.parametrize` with `case_id`."""
    for kind in all_kinds():
        if kind.door in doors:
            yield from ((kind, name) for name in kind.inputs)


def case_id(value: object) -> str:
    """The id that pytest shows."""
    return value.name if isinstance(value, Kind) else str(value)


def file_of(name: str, data: bytes | Callable[[], bytes]) -> Write:
    """An input that is one file of these bytes; returns its name."""

    def write(folder: Path) -> str:
        (folder / name).write_bytes(data if isinstance(data, bytes) else data())
        return name

    return write
