"""Shards of training samples: row groups of Parquet files, and tar files of WebDataset.

What they declare about sizes is checked before it is unpacked. What is about one sample is an error of that sample,
raised when it is read. Knows names and bytes; knows nothing of pixels.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa

from dreamcache.core.errors import CatalogError, DreamCacheError, ImageError, StorageError
from dreamcache.core.locations import is_object
from dreamcache.core.texts import one_line
from dreamcache.storage.bounded import open_regular, too_large
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import read_bounded, store_for
from dreamcache.storage.parquet_pages import read_group
from dreamcache.training.stored import BESIDE, CAPTION_NAMES, Lazy, StoredSample, caption_of
from dreamcache.training.tar import members

SHARD_BYTES = 4 << 30
"""A tar, or what a row group unpacks to: it is held in memory."""
GROUP_ROWS = 10_000_000
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_SHOWN = 10
"""Extensions in a message."""


class ParquetSource:
    """A shard is a row group. Only footers are read at first."""

    def __init__(self, uris: Sequence[str]) -> None:
        self.groups: list[tuple[str, int]] = []
        sizes = []
        self.shard_bytes = 0
        for uri in uris:
            with _reading(uri, "a Parquet file"):
                footer = _parquet(uri).metadata
                names = set(footer.schema.to_arrow_schema().names)
                groups = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
            if "image" not in names or not names & set(CAPTION_NAMES):
                raise CatalogError(f"data '{uri}': needs columns image and caption, has {sorted(names)}")
            if any(not 0 <= rows <= GROUP_ROWS for rows in groups):
                raise CatalogError(
                    f"data '{uri}': a row group may have at most {GROUP_ROWS:,} rows, got {max(groups):,}; "
                    "write smaller ones"
                )
            num_bytes = [footer.row_group(group).total_byte_size for group in range(footer.num_row_groups)]
            self.shard_bytes = max(self.shard_bytes, *num_bytes, 0)
            self.groups += [(uri, group) for group in range(len(groups))]
            sizes += groups
        self.sizes = tuple(sizes)

    def where(self, shard: int, index: int) -> str:
        uri, group = self.groups[shard]
        return f"{uri} row group {group} row {index}"

    def open(self, shard: int) -> Sequence[StoredSample]:
        uri, group = self.groups[shard]
        with _reading(uri, "a Parquet file"):
            names = _parquet(uri).schema_arrow.names
            wanted = [name for name in names if name in ("image", *BESIDE, *CAPTION_NAMES)]
            rows = read_group(_input(uri), group, wanted, SHARD_BYTES).to_pylist()
        if len(rows) != self.sizes[shard]:
            raise CatalogError(
                f"data '{uri}': row group {group} states {self.sizes[shard]:,} rows and has {len(rows):,}; "
                "write it again"
            )

        def sample(number: int) -> StoredSample:
            row, where = rows[number], f"{uri} row group {group} row {number}"
            return StoredSample(
                where=where,
                image=_bytes(row["image"], where) or b"",
                caption=_caption(row, where),
                **{field: _bytes(row.get(field), where) for field in BESIDE},
            )

        return Lazy(len(rows), sample)


class TarSource:
    """A shard is a tar file, read whole. All headers are read once at first, to count the samples."""

    def __init__(self, uris: Sequence[str]) -> None:
        self.uris = list(uris)
        self.keys: list[list[str]] = []
        has_image = False
        for uri in uris:
            samples = _members(uri, contents=False)
            self.keys.append(list(samples))
            has_image = has_image or any(_image_of(parts) is not None for parts in samples.values())
        if any(self.keys) and not has_image:
            raise CatalogError(
                f"data '{uris[0]}': must hold images, members <key>{' or <key>'.join(IMAGE_SUFFIXES)}, got none in "
                f"{len(uris)} tar files; name the images so"
            )
        self.sizes = tuple(len(keys) for keys in self.keys)
        self.shard_bytes = max((_num_bytes(uri) for uri in uris), default=0)

    def where(self, shard: int, index: int) -> str:
        return f"{self.uris[shard]}: {self.keys[shard][index]}"

    def open(self, shard: int) -> Sequence[StoredSample]:
        uri = self.uris[shard]
        samples = list(_members(uri, contents=True).items())
        return Lazy(
            len(samples), lambda number: _from_members(f"{uri}: {samples[number][0]}", samples[number][1])
        )


def _num_bytes(uri: str) -> int:
    info = store_for(uri).stat(uri)
    return info.num_bytes if info is not None else 0


def _members(uri: str, *, contents: bool) -> dict[str, dict[str, bytes]]:
    """{key: {extension: bytes}} of the samples, also of those without an image, in the file's order."""
    samples: dict[str, dict[str, bytes]] = {}
    with _reading(uri, "an uncompressed tar file"), _opened(uri) as (data, num_bytes):
        for member in members(data, num_bytes):
            folder, _, name = member.name.rpartition("/")
            key, _, extension = name.partition(".")
            content = b""
            if contents:
                data.seek(member.start)
                content = data.read(member.size)
            samples.setdefault(f"{folder}/{key}", {})[extension.lower()] = content
    # A hidden file, as macOS puts beside others, is no sample.
    return {
        key: parts for key, parts in samples.items() if not key.endswith("/") or _image_of(parts) is not None
    }


@contextmanager
def _opened(uri: str) -> Iterator[tuple[BinaryIO, int]]:
    """(the file, its size). An object is read whole, a local file as needed."""
    if is_object(uri):
        content = read_bounded(uri, SHARD_BYTES)
        yield io.BytesIO(content), len(content)
        return
    with open_regular(local_path(uri), uri) as (file, num_bytes):
        if num_bytes > SHARD_BYTES:
            raise too_large(uri, SHARD_BYTES, num_bytes)
        yield file, num_bytes


@contextmanager
def _reading(uri: str, what: str) -> Iterator[None]:
    """What reading a shard raises, as the CatalogError of that shard."""
    try:
        yield
    except (CatalogError, StorageError, MemoryError):
        raise
    except (ValueError, OSError, pa.ArrowException, OverflowError, DreamCacheError) as error:
        text = " ".join(str(error).split())[:300]
        raise CatalogError(f"data '{uri}': must be {what}, got one that {text}") from error


def _from_members(where: str, parts: dict[str, bytes]) -> StoredSample:
    image = _image_of(parts)
    if image is None:
        found = " ".join(f".{one_line(extension)[:40]}" for extension in sorted(parts)[:_SHOWN])
        raise ImageError(
            f"{where}: needs an image, a member <key>{' or <key>'.join(IMAGE_SUFFIXES)}, got {found}; add it, or "
            "leave the others out; a key ends at the first dot of a name",
            code="missing_image",
        )
    try:
        if "txt" in parts:
            caption = parts["txt"].decode("utf-8-sig")
        else:
            row = json.loads(parts.get("json", b"{}"))
            caption = _caption(row, where) if isinstance(row, dict) else ""
    except (ValueError, RecursionError) as error:
        raise ImageError(
            f"{where}: its caption must be text in UTF-8, or JSON; write it again", code="bad_caption"
        ) from error
    beside = {field: _image_of(parts, field) for field in BESIDE}
    return StoredSample(where=where, image=image, caption=caption.strip(), **beside)


def _caption(row: Mapping[str, object], where: str) -> str:
    try:
        return caption_of(row)
    except ValueError as error:
        raise ImageError(f"{where}: {error}", code="bad_caption") from error


def _image_of(parts: dict[str, bytes], field: str = "") -> bytes | None:
    """The image itself, or the one beside it whose name ends in e.g. ".mask.png"."""
    names = (f"{field}{suffix}".removeprefix(".") for suffix in IMAGE_SUFFIXES)
    return next((parts[name] for name in names if name in parts), None)


def _bytes(value: Any, where: str) -> bytes | None:
    """An image's bytes, as they are or as Hugging Face's {bytes, path}. Raises ImageError for another type."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if content is None or isinstance(content, bytes):
        return content
    raise ImageError(f"{where}: an image must be bytes, got {type(content).__name__}", code="not_an_image")


def _parquet(uri: str) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(_input(uri))


def _input(uri: str) -> Any:
    from dreamcache.storage.arrow import pyarrow_filesystem

    if not is_object(uri):
        with open_regular(local_path(uri), uri):
            pass  # a device or pipe would be read for ever
    filesystem, path = pyarrow_filesystem(uri)
    return filesystem.open_input_file(path)
