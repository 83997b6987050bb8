"""Builders of inputs for the photo kinds: files, links and pipes in a folder."""

from __future__ import annotations

import io
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from tests.corpus.kind import Write, file_of
from tests.corpus.pictures import (
    chunk,
    good,
    photo,
    saved,
    tiff,
)

Build = bytes | Callable[[], bytes]


def files(suffix: str, **builds: Build) -> dict[str, Write]:
    return {name.replace("_", " "): file_of(f"photo.{suffix}", build) for name, build in builds.items()}


def named(*names: str, data: Build = b"") -> dict[str, Write]:
    return {ascii(name): file_of(name, data) for name in names}


def path_of(path: str) -> Write:
    return lambda folder: path


def in_folder(act: Callable[[Path], object]) -> Write:
    """An input that is no plain file: `act` creates it under the path it is given."""

    def write(folder: Path) -> str:
        act(folder / "photo.png")
        return "photo.png"

    return write


def sparse(num_bytes: int, head: bytes = b"") -> Write:
    def write(folder: Path) -> str:
        with open(folder / "photo.png", "wb") as file:
            file.write(head)
            file.truncate(num_bytes)
        return "photo.png"

    return write


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's address has 108 characters at most
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("photo.png", good("PNG"))
    return buffer.getvalue()


def profile(padding: int = 0) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(padding)


def packed_profile(content: bytes) -> bytes:
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(content))


def text_of(size: int, kind: str, keyword: str = "Comment") -> bytes:
    info = PngImagePlugin.PngInfo()
    text = "<h/>" * (size // 4)
    if kind == "iTXt":
        info.add_itxt(keyword, text, zip=True)
    elif kind == "plain iTXt":
        info.add_itxt(keyword, text)
    else:
        info.add_text(keyword, text, zip=kind == "zTXt")
    return saved(photo(), "PNG", pnginfo=info)


def flipped(kind: str, share: float, count: int = 40, **options: object) -> Callable[[], bytes]:
    def build() -> bytes:
        data = bytearray(saved(photo(200, 160), kind, **options))
        start = int(len(data) * share)
        for at in range(start, min(start + count, len(data) - 16)):
            data[at] ^= 0xA5
        return bytes(data)

    return build


def deep(kind: str, values: np.ndarray) -> Callable[[], bytes]:
    return lambda: saved(Image.fromarray(values), kind)


def clear(kind: str, mode: str = "RGBA", alpha: int = 0, **options: object) -> Callable[[], bytes]:
    def build() -> bytes:
        picture = photo(mode=mode)
        picture.putalpha(alpha)
        return saved(picture, kind, **options)

    return build


def clear_palette(kind: str) -> bytes:
    picture = Image.new("P", (64, 48), 3)
    picture.putpalette([90] * 768)
    return saved(picture, kind, transparency=3)


def tiff_page(
    *tags: tuple[int, int, int | list[int]], content: bytes = bytes(64 * 48), drop: tuple[int, ...] = ()
) -> bytes:
    """A good uncompressed grey page whose tags are replaced, added or dropped."""
    base = {
        256: (3, 64),
        257: (3, 48),
        258: (3, 8),
        259: (3, 1),
        262: (3, 1),
        273: (4, 8),
        277: (3, 1),
        278: (3, 48),
        279: (4, 64 * 48),
    }
    changed: dict[int, tuple[int, int | list[int]]] = {
        **base,
        **{tag: (kind, value) for tag, kind, value in tags},
    }
    return tiff([(tag, kind, value) for tag, (kind, value) in changed.items() if tag not in drop], content)


def shared_tags(count: int, size: int) -> bytes:
    raw = [struct.pack("<HHLL", 40_000 + n % 25_000, 7, size, 8) for n in range(count)]
    return tiff(
        [
            (256, 3, 64),
            (257, 3, 48),
            (258, 3, 8),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, 8),
            (277, 3, 1),
            (278, 3, 48),
            (279, 4, 3072),
        ],
        bytes(max(size, 3072)),
        raw=raw,
    )


RAMP = np.tile(np.linspace(0, 1, 256), (64, 1))


def parts_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
