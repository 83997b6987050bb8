"""Reading a model's files without torch: hashes that decide its identity, and JSON. Knows no layout of models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from dreamcache.core.errors import DreamCacheError, ModelError
from dreamcache.storage.bounded import read_regular
from dreamcache.storage.json_object import MAX_BYTES, parse_object

DECIDING = (".json", ".safetensors", ".txt")
"""Suffixes of the files that decide a model's output."""


def file_hash(path: Path) -> str:
    """sha256 of a file, 64 hex digits; read once per process as long as size and time of change stay the same."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


def hash_files(folder: Path, paths: Iterable[Path], suffixes: Sequence[str] = DECIDING) -> dict[str, str]:
    """{path relative to `folder`: sha256} of the paths that decide the model's output, in their order.

    Those are files with one of the suffixes that are not hidden: weights, configs and vocabularies.
    """
    return {
        str(path.relative_to(folder)): file_hash(path)
        for path in paths
        if path.suffix in suffixes and not path.name.startswith(".") and path.is_file()
    }


@lru_cache(maxsize=1024)
def _hash(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ModelError."""
    try:
        return parse_object(read_regular(path, MAX_BYTES, str(path)))
    except (OSError, ValueError, DreamCacheError) as error:
        raise ModelError(
            f"{path}: must be a readable JSON file, got one that {error}; copy it again"
        ) from error
