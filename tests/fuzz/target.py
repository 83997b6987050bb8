"""What can be fuzzed: a target reads bytes of unknown origin, and may only succeed or raise a DreamCacheError."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dreamcache.core.errors import DreamCacheError

HOMES = ("images", "catalogs", "specs", "sealed", "models", "arguments")
LONGEST_MESSAGE = 4000

Read = Callable[[bytes], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """name: what is read. seeds: good inputs to start from, made in an empty folder.

    reader: prepares a folder of its own and returns what reads one input there. words: of the format, which a random
    change would hardly spell. max_bytes: of one input.
    """

    name: str
    seeds: Callable[[Path], list[bytes]]
    reader: Callable[[Path], Read]
    words: tuple[str, ...] = ()
    max_bytes: int = 65_536


def targets() -> dict[str, Target]:
    """All, by name."""
    modules = (importlib.import_module(f"tests.fuzz.{home}") for home in HOMES)
    return {target.name: target for module in modules for target in module.TARGETS}


@contextlib.contextmanager
def only_our_errors() -> Iterator[None]:
    """An error for the user is an outcome; it must fit a line. Anything else is for the fuzzer to report."""
    try:
        yield
    except DreamCacheError as error:
        text = str(error)
        if "\n" in text or len(text) > LONGEST_MESSAGE:
            raise AssertionError(
                f"{error.code}: a message is one line of bounded length: {text[:300]!r}"
            ) from error
