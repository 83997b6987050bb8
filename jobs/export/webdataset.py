"""Export to WebDataset: tar shards with <name>.<ext>, <name>.txt (the prompt) and <name>.json (the manifest's row).

    shards.json: of every shard a hash of what it holds, which follows from the manifest alone, and the object's etag

A shard stays when both are as recorded: one that was changed, cut short or packed from other rows is packed again,
whatever its size is. Shards of an earlier export that had more of them go.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from dreamcache.core.errors import ImageError
from dreamcache.core.parallel import map_ordered
from dreamcache.storage.bounded import TooLarge
from dreamcache.storage.json_object import MAX_BYTES, parse_object
from dreamcache.storage.open_store import BoundStore, open_store
from dreamcache.storage.temporary import temporary_folder
from jobs.export.fetch import Lost, read_image
from jobs.export.folder import Copied
from jobs.export.names import Names, Row
from jobs.export.rows import row_json

LAYOUT = "{item_id}.{ext}"
INDEX = "shards.json"
SHARD = re.compile(r"shard-(\d{6,})\.tar")
SHARD_BYTES = 500_000_000
FORMAT: Literal[1] = 1  # tarfile.GNU_FORMAT


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image to be packed, with its texts."""

    name: str
    row: Row
    texts: dict[str, bytes]

    @property
    def packed_bytes(self) -> int:
        """In a tar file: a header for each member, and contents in blocks."""
        sizes = {self.name: self.row["num_bytes"], **{name: len(text) for name, text in self.texts.items()}}
        return sum(len(_header(name, size)) + _blocks(size) for name, size in sizes.items())


def write_shards(
    names: Names, output: str, target: str, *, shard_bytes: int = SHARD_BYTES
) -> Iterator[Copied | Lost]:
    """shard-000000.tar and on, each of at most `shard_bytes`, or of one sample that is larger alone."""
    source, index = open_store(output), _Index(open_store(target))
    number = -1
    for number, samples in enumerate(_shards(names, shard_bytes)):
        key, content = _key(number), content_of(samples)
        if index.has(key, content):
            yield from (Copied(name=sample.name, row=sample.row, kept=True) for sample in samples)
            continue
        is_whole = True
        with temporary_folder("export") as folder:
            path = folder / "shard.tar"
            for one in _pack(path, samples, source):
                is_whole = is_whole and not isinstance(one, Lost)
                yield one
            # A shard that lacks images is packed again by the next export, which may find them.
            index.upload(key, path, content if is_whole else None, len(samples))
    index.delete_after(number)


def content_of(samples: Sequence[Sample]) -> str:
    """A hash of all that decides a shard's bytes."""
    digest = sha256()
    for sample in samples:
        image = {name: sample.row.get(name) for name in ("key", "num_bytes", "pixel_sha256")}
        digest.update(json.dumps([sample.name, image]).encode())
        for name, text in sample.texts.items():
            digest.update(f"{name} {len(text)} ".encode() + text)
    return digest.hexdigest()


class _Index:
    """shards.json: what is in the shards of a target, written after each of them."""

    def __init__(self, store: BoundStore) -> None:
        self._store = store
        try:
            shards = parse_object(store.read(INDEX, MAX_BYTES)).get("shards")
        except (FileNotFoundError, ValueError, TooLarge):
            shards = None  # damaged or none: the shards are packed again
        self._shards: dict[str, Any] = dict(shards) if isinstance(shards, dict) else {}

    def has(self, key: str, content: str) -> bool:
        """Whether the shard is there with this content, as it was written."""
        entry, present = self._shards.get(key), self._store.stat(key)
        if not isinstance(entry, dict) or present is None:
            return False
        return (entry.get("content"), entry.get("etag")) == (content, present.etag)

    def upload(self, key: str, path: Path, content: str | None, samples: int) -> None:
        """Writes a shard. content: None for one that lacks images."""
        self._store.upload(key, path)
        present = self._store.stat(key)
        etag = present.etag if present else None
        self._shards[key] = {
            "content": content,
            "etag": etag,
            "samples": samples,
            "num_bytes": path.stat().st_size,
        }
        self._write()

    def delete_after(self, number: int) -> None:
        """Deletes the shards of an earlier export whose numbers are higher."""
        more = [key for key in self._shards if (match := SHARD.fullmatch(key)) and int(match[1]) > number]
        for key in more:
            self._store.delete(key)
            del self._shards[key]
        if more:
            self._write()

    def _write(self) -> None:
        self._store.write(
            INDEX, (json.dumps({"shards": self._shards}, indent=1, sort_keys=True) + "\n").encode()
        )


def _key(number: int) -> str:
    return f"shard-{number:06d}.tar"


def _shards(names: Names, shard_bytes: int) -> Iterator[list[Sample]]:
    """Samples of one shard at a time; rows only, no images."""
    samples: list[Sample] = []
    size = 2 * tarfile.BLOCKSIZE
    for name, row in names:
        stem = name.rpartition(".")[0]
        line = row_json(row).encode()
        sample = Sample(
            name=name, row=row, texts={f"{stem}.txt": row["prompt"].encode(), f"{stem}.json": line}
        )
        if samples and size + sample.packed_bytes > shard_bytes:
            yield samples
            samples, size = [], 2 * tarfile.BLOCKSIZE
        samples.append(sample)
        size += sample.packed_bytes
    if samples:
        yield samples


def _pack(path: Path, samples: list[Sample], output: BoundStore) -> Iterator[Copied | Lost]:
    def read(sample: Sample) -> tuple[Sample, bytes | Lost]:
        try:
            return sample, read_image(output, sample.row)
        except ImageError as error:
            return sample, Lost(item_id=sample.row["item_id"], message=str(error))

    with tarfile.open(path, "w", format=FORMAT, encoding="utf-8") as tar:
        for sample, data in map_ordered(read, samples, name="export"):
            if isinstance(data, Lost):
                yield data
                continue
            for name, content in ((sample.name, data), *sample.texts.items()):
                tar.addfile(_member(name, len(content)), io.BytesIO(content))
            yield Copied(name=sample.name, row=sample.row, kept=False)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def _header(name: str, size: int) -> bytes:
    """One block, and more for a long name."""
    return _member(name, size).tobuf(FORMAT, "utf-8", "surrogateescape")


def _blocks(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
