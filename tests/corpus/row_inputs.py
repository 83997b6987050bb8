"""Inputs of rows: functions that create what a row names in the catalog's folder, and return the row's cells."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.corpus.kind import Write

BUCKET, FOLDER = "tests", "rows/cat"
GOOD = "good.png"
"""A photo beside the catalog."""

Names = dict[str, str]


def images(*names: str) -> dict[str, Write]:
    """Rows whose photo has this location."""
    return {
        f"{n}: {ascii(name)[1:61]}": lambda folder, name=name: {"image": name} for n, name in enumerate(names)
    }


def both(*names: str) -> dict[str, Write]:
    """Each as a photo, and as the mask of a good photo."""
    masks = {
        f"mask {n}: {ascii(name)[1:51]}": lambda folder, name=name: {"mask": name}
        for n, name in enumerate(names)
    }
    return {**images(*names), **masks}


def inside(*names: str) -> dict[str, Write]:
    """Names that are filled in with the catalog's folder: {folder}."""

    def row(name: str) -> Write:
        return lambda folder: {"image": name.format(folder=folder, name=folder.name)}

    return {name[:60]: row(name) for name in names}


def links(**targets: str) -> dict[str, Write]:
    """Rows whose photo is a symbolic link, or lies below one: name -> what the link says."""

    def row(name: str, target: str) -> Write:
        def write(folder: Path) -> dict[str, str]:
            link, _, rest = f"link-{name}".partition("+")
            os.symlink(target.format(folder=folder), folder / link)
            return {"image": f"{link}/{rest}" if rest else link}

        return write

    return {name.replace("_", " "): row(name, target) for name, target in targets.items()}


def chain(length: int, end: str) -> Write:
    """A link to a link to a link .. to `end`."""

    def write(folder: Path) -> dict[str, str]:
        for number in range(length):
            target = end if number == 0 else f"chain-{length}-{number - 1}"
            os.symlink(target, folder / f"chain-{length}-{number}")
        return {"image": f"chain-{length}-{length - 1}"}

    return write


def circle(*names: str, row: Callable[[str], dict[str, str]] = lambda name: {"image": name}) -> Write:
    """Links of which each leads to the next, and the last to the first."""

    def write(folder: Path) -> dict[str, str]:
        for name, target in zip(names, (*names[1:], names[0]), strict=True):
            os.symlink(target, folder / name)
        return row(names[0])

    return write


def created(act: Callable[[Path], object], name: str) -> Write:
    def write(folder: Path) -> dict[str, str]:
        act(folder)
        return {"image": name}

    return write
