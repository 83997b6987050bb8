"""Folders of photos as catalogs, and what is no catalog."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.corpus.catalog_files import HEADER, folder, kind_of, plain
from tests.corpus.kind import USED, Write


def _zip(parent: Path) -> str:
    with zipfile.ZipFile(parent / "c.zip", "w") as file:
        file.writestr("c.csv", HEADER)
    return "c.zip"


def _is_folder(name: str) -> Write:
    def write(parent: Path) -> str:
        (parent / name).mkdir()
        return name

    return write


NONE = {
    "an Excel file": plain(b"PK\x03\x04", "c.xlsx"),
    "a zip": _zip,
    "a text": plain(b"x", "c.txt"),
    "JSON": plain(b"[]", "c.json"),
    "no file": lambda parent: "none.csv",
    "no folder": lambda parent: "none",
    "an empty folder": _is_folder("empty"),
    "an empty folder named as a file": _is_folder("c.csv"),
    "a folder of texts": folder("a.txt", "b/c.md"),
    "a folder of a system's files alone": folder(".a.jpg", "__MACOSX/x.jpg", "Thumbs.db"),
}
SYSTEM_FILES = {
    "Apple doubles": folder("good-1.jpg", "._good-1.jpg", "good-2/._1.jpg", "good-2/good-2.jpg"),
    "a Synology's thumbnails": folder("good-1.jpg", "@eaDir/good-1.jpg/SYNOPHOTO_THUMB_M.jpg"),
    "a zip of a Mac": folder("good-1.jpg", "__MACOSX/good-1.jpg", ".DS_Store"),
    "checkpoints of a notebook": folder("good-1.jpg", ".ipynb_checkpoints/good-1-checkpoint.jpg"),
    "thumbnails": folder("good-1.jpg", ".thumbnails/good-1.jpg", "Thumbs.db", "desktop.ini"),
    "a dot file": folder("good-1.jpg", ".good-2.jpg", ".trash/x.png"),
    "in a product's folder": folder("good-1/good-1.jpg", "good-1/@eaDir/a.jpg/T.jpg", "good-1/.x.jpg"),
}
SUFFIXES = {
    ending: folder(f"good-1.{ending}")
    for ending in (
        "jpg",
        "JPG",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "avif",
        "heic",
        "HEIF",
        "tif",
        "tiff",
        "bmp",
        "gif",
    )
}


def _dangling(parent: Path) -> str:
    root = parent / "photos"
    root.mkdir()
    (root / "good-1.jpg").symlink_to("not-fetched.jpg")
    return "photos"


SUFFIXES["a link that leads nowhere"] = _dangling
DEEP = {
    "category, kind, product": folder(
        *(f"{c}/shoes/sku{n}.jpg" for c in ("women", "men") for n in range(4)), "good-1.jpg"
    ),
    "one": folder("good-1.jpg", "a/b/c.jpg"),
    "beside a product's folder": folder("good-1/good-1.jpg", "a/b/c/d/e.jpg"),
    "two of one name": folder("good-1.jpg", "x/a/1.jpg", "x/b/1.jpg"),
    "with spaces": folder("good-1.jpg", "my shop/red shoes/1.jpg"),
}


KINDS = [
    kind_of("no catalog", "bad_catalog", NONE),
    kind_of("system files are no products", USED, SYSTEM_FILES),
    kind_of("suffixes of photos", USED, SUFFIXES),
    kind_of("photos too deep", "bad_row", DEEP),
]
