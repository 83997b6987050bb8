"""Where training samples come from: a folder, Parquet shards, or WebDataset tar shards; local or s3://.

    folder      images/<name>.png  masks/<name>.png  metadata.jsonl or metadata.csv (file_name, caption)
    parquet     *.parquet, columns image, mask, caption; images as bytes or as Hugging Face's {bytes, path}
    webdataset  *.tar, members <key>.png|jpg|webp, <key>.mask.png, <key>.txt or <key>.json (caption)

A sample may bring its own reference photo, another picture of the same subject: `references/<name>.png`, column
`reference`, member `<key>.reference.png|jpg|webp`; and that photo's mask: `reference_masks/`, `reference_mask`.

A shard is what is read at once: the whole folder (file by file), a row group, a tar. Knows names and bytes; knows
nothing of pixels.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol, overload

from dreamcache.core.errors import CatalogError
from dreamcache.storage.below import RULE, is_name
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.store import S3_SCHEME, relative_to

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
CAPTION_NAMES = ("caption", "text", "prompt")
BESIDE = {"mask": "masks", "reference": "references", "reference_mask": "reference_masks"}
"""Optional pictures of a sample: field, column and member's name, and the folder's name in the folder form"""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSample:
    """One training sample as stored. `where` names it in messages.

    mask: of the subject in `image`. reference: another picture of the subject, with `reference_mask` or on white.
    """

    where: str
    image: bytes
    mask: bytes | None
    caption: str
    reference: bytes | None = None
    reference_mask: bytes | None = None


class Source(Protocol):
    """Shards of samples. `sizes`: number of samples of each shard."""

    @property
    def sizes(self) -> tuple[int, ...]: ...

    def open(self, shard: int) -> Sequence[StoredSample]:
        """The samples of one shard, read now or one by one."""


def open_source(path: str, kind: str = "auto") -> Source:
    """The source at `path`. Raises CatalogError when there is nothing of that kind."""
    names = sorted(relative_to(info.uri, path) for info in store_for(path).list(path))
    files = {
        "parquet": [join(path, name) for name in names if name.endswith(".parquet")],
        "webdataset": [join(path, name) for name in names if name.endswith(".tar")],
        "folder": [name for name in names if name in ("metadata.jsonl", "metadata.csv")],
    }
    if kind == "auto":
        kind = next((name for name in ("folder", "webdataset", "parquet") if files[name]), "auto")
    if not files.get(kind):
        raise CatalogError(
            f"data '{path}': must hold images/ with metadata.jsonl or .csv, *.parquet or *.tar; "
            f"got {len(names)} files and none of these for format '{kind}'"
        )
    if kind == "folder":
        return FolderSource(path, names, files["folder"][0])
    return ParquetSource(files[kind]) if kind == "parquet" else TarSource(files[kind])


class FolderSource:
    """One shard whose samples are read one by one."""

    def __init__(self, path: str, names: Sequence[str], table: str) -> None:
        self.path = path
        self.beside = {
            field: {_below(name, folder): name for name in names if name.startswith(f"{folder}/")}
            for field, folder in BESIDE.items()
        }
        self.rows = list(_captions(store_for(path).read(join(path, table)), table, path))
        self.sizes = (len(self.rows),)

    def open(self, shard: int) -> Sequence[StoredSample]:
        return _Lazy(len(self.rows), self._read)

    def _read(self, index: int) -> StoredSample:
        name, caption = self.rows[index]
        file = name if name.startswith("images/") else f"images/{name}"
        key, store = _below(file, "images"), store_for(self.path)
        beside = {
            field: store.read(join(self.path, names[key])) if key in names else None
            for field, names in self.beside.items()
        }
        return StoredSample(
            where=join(self.path, file), image=store.read(join(self.path, file)), caption=caption, **beside
        )


def _below(name: str, folder: str) -> str:
    """images/a/1.png is a/1: pictures of one sample have that in common, and 1.png of another folder has not."""
    return str(PurePosixPath(name).relative_to(folder).with_suffix(""))


class ParquetSource:
    """A shard is a row group. Only footers are read at first."""

    def __init__(self, uris: Sequence[str]) -> None:
        self.groups: list[tuple[str, int]] = []
        sizes = []
        for uri in uris:
            footer = _parquet(uri).metadata
            names = set(footer.schema.to_arrow_schema().names)
            if "image" not in names or not names & set(CAPTION_NAMES):
                raise CatalogError(f"data '{uri}': needs columns image and caption, has {sorted(names)}")
            for group in range(footer.num_row_groups):
                self.groups.append((uri, group))
                sizes.append(footer.row_group(group).num_rows)
        self.sizes = tuple(sizes)

    def open(self, shard: int) -> Sequence[StoredSample]:
        uri, group = self.groups[shard]
        file = _parquet(uri)
        wanted = [name for name in file.schema_arrow.names if name in ("image", *BESIDE, *CAPTION_NAMES)]
        rows = file.read_row_group(group, columns=wanted).to_pylist()
        return [
            StoredSample(
                where=f"{uri} row group {group} row {number}",
                image=_bytes(row["image"]) or b"",
                caption=_caption(row),
                **{field: _bytes(row.get(field)) for field in BESIDE},
            )
            for number, row in enumerate(rows)
        ]


class TarSource:
    """A shard is a tar file, read whole. All headers are read once at first, to count the samples."""

    def __init__(self, uris: Sequence[str]) -> None:
        self.uris = list(uris)
        self.sizes = tuple(len(_members(uri, contents=False)) for uri in uris)

    def open(self, shard: int) -> Sequence[StoredSample]:
        uri = self.uris[shard]
        members = _members(uri, contents=True)
        return [_from_members(f"{uri}: {key}", parts) for key, parts in members.items()]


def _members(uri: str, *, contents: bool) -> dict[str, dict[str, bytes]]:
    """{key: {extension: bytes}} of the samples that have an image, in the file's order."""
    remote = uri.startswith(S3_SCHEME)
    samples: dict[str, dict[str, bytes]] = {}
    try:
        with (
            io.BytesIO(store_for(uri).read(uri)) if remote else local_path(uri).open("rb") as data,
            tarfile.open(fileobj=data, mode="r:") as tar,
        ):
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                key, _, extension = name.partition(".")
                file = tar.extractfile(member) if contents and member.isfile() else None
                parts = samples.setdefault(f"{folder}/{key}", {})
                parts[extension.lower()] = file.read() if file is not None else b""
    except tarfile.TarError as error:
        raise CatalogError(f"data '{uri}': must be an uncompressed tar file: {error}") from error
    return {key: parts for key, parts in samples.items() if _image_of(parts) is not None}


def _from_members(where: str, parts: dict[str, bytes]) -> StoredSample:
    caption = parts["txt"].decode() if "txt" in parts else _caption(json.loads(parts.get("json", b"{}")))
    beside = {field: _image_of(parts, field) for field in BESIDE}
    return StoredSample(where=where, image=_image_of(parts) or b"", caption=caption.strip(), **beside)


def _image_of(parts: dict[str, bytes], field: str = "") -> bytes | None:
    """The image itself, or the one beside it whose name ends in e.g. ".mask.png"."""
    names = (f"{field}{suffix}".removeprefix(".") for suffix in IMAGE_SUFFIXES)
    return next((parts[name] for name in names if name in parts), None)


def _captions(data: bytes, name: str, path: str) -> Iterable[tuple[str, str]]:
    text = data.decode("utf-8-sig")
    if name.endswith(".csv"):
        rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text, newline="")))
    else:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    for number, row in enumerate(rows, start=1):
        if not row.get("file_name") or not set(row) & set(CAPTION_NAMES):
            raise CatalogError(
                f"data '{path}': {name} row {number}: needs file_name and caption, got {sorted(row)}"
            )
        if not is_name(row["file_name"]):
            raise CatalogError(
                f"data '{path}': {name} row {number}: file_name must be {RULE}, got "
                f"{ascii(row['file_name'])[:200]}; move the picture into images/"
            )
        yield str(row["file_name"]), _caption(row)


def _caption(row: dict[str, Any]) -> str:
    return next((str(row[name]).strip() for name in CAPTION_NAMES if row.get(name) is not None), "")


def _bytes(value: Any) -> bytes | None:
    return value.get("bytes") if isinstance(value, dict) else value


def _parquet(uri: str) -> Any:
    import pyarrow.parquet as pq

    from dreamcache.storage.arrow import pyarrow_filesystem

    filesystem, path = pyarrow_filesystem(uri)
    return pq.ParquetFile(filesystem.open_input_file(path))


class _Lazy(Sequence[StoredSample]):
    """Samples that are read on access."""

    def __init__(self, count: int, read: Callable[[int], StoredSample]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> StoredSample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StoredSample]: ...
    def __getitem__(self, index: int | slice) -> StoredSample | Sequence[StoredSample]:
        if isinstance(index, slice):
            return [self._read(number) for number in range(self._count)[index]]
        return self._read(index)
