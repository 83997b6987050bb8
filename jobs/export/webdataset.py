"""Export to WebDataset: tar shards with <name>.<ext>, <name>.txt (the prompt) and <name>.json (the manifest's row).

What a shard holds, and its size, follow from the manifest alone, so a shard that is there with that size stays.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dreamcache.core.errors import ImageError
from dreamcache.core.parallel import map_ordered
from dreamcache.storage.open_store import BoundStore, open_store
from jobs.export.fetch import Lost, read_image
from jobs.export.folder import Copied
from jobs.export.names import Names, Row
from jobs.export.rows import row_json

LAYOUT = "{item_id}.{ext}"
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
    source, store = open_store(output), open_store(target)
    for number, samples in enumerate(_shards(names, shard_bytes)):
        key = f"shard-{number:06d}.tar"
        present = store.stat(key)
        size = sum(sample.packed_bytes for sample in samples) + 2 * tarfile.BLOCKSIZE
        if present is not None and present.num_bytes == -(-size // tarfile.RECORDSIZE) * tarfile.RECORDSIZE:
            yield from (Copied(name=sample.name, row=sample.row, kept=True) for sample in samples)
            continue
        with tempfile.TemporaryDirectory(prefix="dreamcache-export-") as folder:
            path = Path(folder) / "shard.tar"
            yield from _pack(path, samples, source)
            store.upload(key, path)


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
