"""A folder of photos as a catalog: photos directly in it are subjects by name; of a sub-folder, its first photo.

Knows names of files; opens none.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from dreamcache.core.errors import CatalogError, StorageError
from dreamcache.core.locations import is_local
from dreamcache.core.records import Subject
from dreamcache.core.texts import shown
from dreamcache.storage.local import local_path
from jobs.planning.catalog.parts import listed
from jobs.planning.catalog.rows import BadRow, bad_row, id_problem

IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".avif",
    ".heic",
    ".heif",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
)
OTHER_IMAGES = (
    ".svg",
    ".psd",
    ".jp2",
    ".j2k",
    ".jxl",
    ".raw",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".ai",
    ".eps",
    ".ico",
)
SYSTEM_NAMES = ("@eadir", "__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found")
"""Of folders and files that systems leave beside photos, in lower case; so is all that begins with a dot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Files of a folder catalog that no subject uses, counted by reason."""

    counts: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """A line for each reason, for people."""
        return [f"left out: {count:,} {reason}" for reason, count in sorted(self.counts.items())]


FURTHER = "further photos of sub-folders: the first one, by name, is the reference"
SYSTEM = "photos that are hidden or lie in a system's folder"
UNREAD = (
    f"images of formats that are not read ({', '.join(suffix[1:] for suffix in OTHER_IMAGES[:4])} and others)"
)


def photos_of_folder(uri: str, class_name: str, left_out: LeftOut) -> Iterator[Subject | BadRow]:
    """Subjects and bad rows of a folder, in order of names. Raises CatalogError for a folder without photos."""
    prefix = uri.rstrip("/") + "/"
    unreadable: dict[str, StorageError] = {}
    photos = list(_photos_below(prefix, left_out, unreadable))
    yield from _unreadable_folders(prefix, unreadable)
    if not photos and not unreadable:
        raise CatalogError(
            f"catalog '{uri}': must be a .csv, .jsonl or .parquet file, or a folder of images; got none of these"
        )
    taken: set[str] = set()
    shallow = {name.split("/")[0] for name in photos if name.count("/") == 1}
    for number, name in enumerate(photos, start=1):
        steps = name.split("/")
        subject_id = PurePosixPath(name).stem if len(steps) == 1 else steps[0]
        where = f"{prefix.rstrip('/').rpartition('/')[2]}: photo {shown(name)}"
        if len(steps) > 2 and steps[0] not in shallow:
            message = (
                f"{where}: must lie in the catalog's folder or one below it, lies deeper, so it is not clear which "
                "product it shows; move it, or list the photos in a CSV file"
            )
            yield bad_row(number, name.rpartition(".")[0], "bad_row", message)
        elif subject_id in taken and len(steps) > 1:
            left_out.counts[FURTHER] += 1
        elif subject_id in taken:
            message = f"{where}: another photo already gives subject '{subject_id}'; rename one"
            yield bad_row(number, subject_id, "duplicate_subject", message)
        else:
            taken.add(subject_id)
            yield _subject(prefix + name, subject_id, number, where, class_name)


def _unreadable_folders(prefix: str, unreadable: Mapping[str, StorageError]) -> Iterator[BadRow]:
    """A row for each folder or file that cannot be listed, under the name of the product whose photos it holds."""
    for number, (uri, error) in enumerate(sorted(unreadable.items()), start=1):
        name = uri.removeprefix(prefix)
        if not _is_systems(name):
            step, slash, _ = name.partition("/")
            yield bad_row(-number, step if slash else PurePosixPath(name).stem, error.code, str(error))


def _subject(photo: str, subject_id: str, number: int, where: str, class_name: str) -> Subject | BadRow:
    problem = id_problem(subject_id)
    if problem:
        return bad_row(number, subject_id, "bad_subject_id", f"{where}: {problem}")
    return Subject(subject_id=subject_id, class_name=class_name, image=photo)


def _photos_below(prefix: str, left_out: LeftOut, unreadable: dict[str, StorageError]) -> Iterator[str]:
    """Names of photos relative to the folder, sorted; others that look like photos are counted.

    unreadable: receives the error of each folder below that cannot be listed.
    """
    names = [info.uri.removeprefix(prefix) for info in listed(prefix, unreadable)]
    for name in sorted({*names, *_broken_links(prefix)}):
        suffix = PurePosixPath(name.lower()).suffix
        if suffix in OTHER_IMAGES:
            left_out.counts[UNREAD] += 1
        elif suffix in IMAGE_SUFFIXES:
            if _is_systems(name):
                left_out.counts[SYSTEM] += 1
            else:
                yield name


def _is_systems(name: str) -> bool:
    return any(step.startswith(".") or step.lower() in SYSTEM_NAMES for step in name.split("/"))


def _broken_links(prefix: str) -> Iterator[str]:
    """Links that lead nowhere: no listing has them, and a photo that is missing must be named."""
    if not is_local(prefix):
        return
    root = str(local_path(prefix))
    for folder, _, files in os.walk(root):
        for file in files:
            path = os.path.join(folder, file)
            if os.path.islink(path) and not os.path.exists(path):
                yield os.path.relpath(path, root)
