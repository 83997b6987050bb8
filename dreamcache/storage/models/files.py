"""Reading a model's files without torch: hashes that decide its identity, and JSON. Knows no layout of models.

A model's folder comes from outside: every file is regular, its JSON is of bounded size and depth, and no link leads out
of the folder (except into the hub's cache, whose folders consist of links).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from dreamcache.core import ids
from dreamcache.core.errors import DreamCacheError, ModelError
from dreamcache.storage.bounded import read_regular
from dreamcache.storage.json_object import MAX_BYTES, JsonObject, parse_object

DECIDING = (".json", ".safetensors", ".txt")
"""Suffixes of the files that decide a model's output."""

PROVENANCE = ("_diffusers_version", "transformers_version", "_name_or_path", "_commit_hash")
"""Keys of a config that state who wrote it; loaders read nothing of them."""

BLOBS = "blobs"
"""Of the hub's cache: a snapshot's files are links into this folder beside it."""


def file_hash(path: Path) -> str:
    """sha256 of a file, 64 hex digits; read once per process as long as size and time of change stay the same."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


def hash_files(folder: Path, paths: Iterable[Path], suffixes: Sequence[str] = DECIDING) -> dict[str, str]:
    """{path relative to `folder`: sha256} of the paths that decide the model's output, in their order.

    Those are files with one of the suffixes that are not hidden: weights, configs and vocabularies. Raises ModelError
    for one that cannot be read.
    """
    try:
        return {
            str(path.relative_to(folder)): file_hash(path)
            for path in paths
            if path.suffix in suffixes and not path.name.startswith(".") and path.is_file()
        }
    except OSError as error:
        raise ModelError(
            f"{folder}: every file of the model must be readable: {error.strerror}; check the folder"
        ) from error


def regular_file(folder: Path, name: str) -> Path | None:
    """The file `name` below `folder`, or None where there is none.

    Raises ModelError for what is no regular file, and for a link that leads out of the folder.
    """
    path = folder / name
    try:
        if not path.is_symlink() and not path.exists():
            return None
        target, root = path.resolve(strict=True), folder.resolve()
        is_regular = target.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{folder}: {name} must be a readable file: {_reason(error)}; copy it there again"
        ) from error
    if not is_regular:
        raise ModelError(f"{folder}: {name} must be a regular file; copy it there again")
    if not target.is_relative_to(root) and not any(
        target.is_relative_to(parent / BLOBS) for parent in root.parents
    ):
        raise ModelError(
            f"{folder}: {name} must be inside of this folder, it is a link that leads out of it; copy the file there"
        )
    return path


@lru_cache(maxsize=1024)
def _hash(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> JsonObject:
    """The JSON object in a file. Raises ModelError for every other content, and for a file over MAX_BYTES."""
    try:
        return parse_object(read_regular(path, MAX_BYTES, str(path)))
    except (OSError, ValueError, MemoryError, DreamCacheError) as error:
        raise ModelError(
            f"{path}: must be a readable JSON file, got one that {_reason(error)}; copy it again"
        ) from error


def config_hash(config: JsonObject) -> str:
    """sha256 of what a loader reads of a config: neither its layout nor who wrote it counts."""
    return ids.of_values("config", values={key: config[key] for key in config if key not in PROVENANCE})


@contextmanager
def as_bad_model(where: str) -> Iterator[None]:
    """Within the block, values of wrong types and missing keys are a ModelError that names `where`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise ModelError(
            f"{where}: lacks or misstates {_reason(error)}; copy the model's folder again"
        ) from error


def _reason(error: BaseException) -> str:
    """In one line, at most 200 characters."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]
