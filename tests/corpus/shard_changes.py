"""Changes of training shards in place: see `shards`.

An input gets a folder with good shards, two samples each: `good.parquet`, `good.tar`, `images/` with `metadata.csv`.
It leaves one form there, changed, and returns its path (see `keep`).
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.corpus.kind import Write
from tests.corpus.pictures import photo, saved

FORMS = {"parquet": "good.parquet", "webdataset": "good.tar", "folder": "metadata.csv"}


def build(folder: Path) -> None:
    """Good data in all three forms."""
    rows = [{"image": saved(photo(64 + n, 48), "PNG"), "caption": f"a mug {n}"} for n in range(2)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "good.parquet")
    members = [
        (f"{n}.{name}", data)
        for n, row in enumerate(rows)
        for name, data in (("png", row["image"]), ("txt", b"a mug"))
    ]
    (folder / "good.tar").write_bytes(tar_of(*members))
    (folder / "images").mkdir()
    for n, row in enumerate(rows):
        (folder / "images" / f"{n}.png").write_bytes(row["image"])
    (folder / "metadata.csv").write_text("file_name,caption\n0.png,a mug\n1.png,a mug\n")


def tar_of(*members: tuple[str, bytes], format: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header(name: str, size: bytes | int, kind: bytes = b"0", rest: bytes = b"") -> bytes:
    """One header of a tar; size: octal digits, or bytes as they are."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = name.encode()[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field.ljust(12, b"\0")
    block += b"00000000000\0" + b" " * 8 + kind + bytes(100) + b"ustar\0" + b"00" + rest
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def pax(**records: str) -> bytes:
    content = b""
    for key, value in records.items():
        line = f" {key.replace('_', '.')}={value}\n".encode()
        length = len(line) + 1
        while len(str(length)) + len(line) != length:
            length += 1
        content += str(length).encode() + line
    return header("pax", len(content), b"x") + content.ljust(-(-len(content) // 512) * 512, b"\0")


def keep(folder: Path, form: str) -> Path:
    """Only this form is left; what is changed in it."""
    for name in (*FORMS.values(), "images"):
        if name != FORMS[form] and not (form == "folder" and name == "images"):
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder / FORMS[form]


def tar(change: Callable[[bytes], bytes]) -> Write:
    def write(folder: Path) -> Path:
        path = keep(folder, "webdataset")
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def parquet(change: Callable[[bytes], bytes]) -> Write:
    def write(folder: Path) -> Path:
        path = keep(folder, "parquet")
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def rows(*values: dict[str, Any], schema: pa.Schema | None = None) -> Write:
    def write(folder: Path) -> Path:
        path = keep(folder, "parquet")
        pq.write_table(pa.Table.from_pylist(list(values), schema=schema), path)
        return path

    return write


def listed(text: str | bytes, name: str = "metadata.csv") -> Write:
    """The folder form with this table."""

    def write(folder: Path) -> Path:
        keep(folder, "folder").unlink()
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder / name

    return write


def instead(form: str, act: Callable[[Path], object]) -> Write:
    """Something that is no file at its place."""

    def write(folder: Path) -> Path:
        path = keep(folder, form)
        path.unlink()
        act(path)
        return path

    return write


def in_images(act: Callable[[Path], object]) -> Write:
    """The first picture of the folder form is replaced."""

    def write(folder: Path) -> Path:
        keep(folder, "folder")
        path = folder / "images" / "0.png"
        path.unlink()
        act(path)
        return path

    return write


def packed_cell(num_bytes: int) -> Write:
    def write(folder: Path) -> Path:
        path = keep(folder, "parquet")
        table = pa.table({"image": [bytes(num_bytes)], "caption": ["a mug"]})
        pq.write_table(table, path, compression="zstd", use_dictionary=False)
        return path

    return write


def lying_page(data: bytes) -> bytes:
    """The first page's header states 2 GB."""
    at = data.index(b"PAR1") + 4
    head = bytearray(data)
    assert head[at] == 0x15
    start = at + 2 if head[at + 2] == 0x15 else at + 3
    end = start + 1
    while head[end] & 0x80:
        end += 1
    huge = bytes((0xFE, 0xFF, 0xFF, 0xFF, 0x0F))
    # The header grows by some bytes, which the footer's offsets do not know: damaged in any case, and never read so.
    return bytes(head[: start + 1]) + huge + bytes(head[end + 1 :])
