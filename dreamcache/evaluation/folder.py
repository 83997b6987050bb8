"""Images of another method, so that any method can stand in the same table.

    <folder>/<subject>/<name>.png     name: index of the subject's prompt ("7", "07_2": its third sample, or a folder
                                      `7/` of samples), or the prompt itself ("a_dog_in_the_snow", "... -2")
    <folder>/prompts.csv              or: columns file, prompt, and if wanted subject_id, class_name
    <name>.mask.png                   a mask, for the segmenters "file" and "auto"

Knows storage and names; knows nothing of how images were generated.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from dreamcache.core.errors import CatalogError
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.store import relative_to

TABLE = "prompts.csv"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MASK = ".mask.png"
MAX_TABLE_BYTES = 64 << 20
"""Of a table of prompts: half a million images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderImage:
    """prompt: None where neither table nor name states it; class_name: None where the table states none.

    sample: number among the images of one subject and prompt, in order of their names, from 0.
    """

    subject_id: str
    uri: str
    prompt: str | None
    class_name: str | None = None
    mask: str | None = None
    sample: int = 0


def read_folder(uri: str, prompts: Mapping[str, Sequence[str]]) -> list[FolderImage]:
    """Images in order of their names. prompts: of each subject, what an index in a name counts.

    Raises CatalogError when there is no image, or the table names a file that is not there.
    """
    names = sorted(relative_to(info.uri, uri) for info in store_for(uri).list(uri))
    images = [name for name in names if name.lower().endswith(SUFFIXES) and not name.endswith(MASK)]
    if not images:
        raise CatalogError(
            f"images '{uri}': must be a folder of <subject>/<prompt or index>.png, holds no image; check the path"
        )
    masks = {name for name in names if name.endswith(MASK)}
    table = _read_table(uri) if TABLE in names else None
    if table is not None:
        missing = [file for file in table if file not in set(images)]
        if missing:
            raise CatalogError(
                f"{join(uri, TABLE)}: names '{missing[0]}', a file that does not exist; fix the row"
            )
        images = [name for name in images if name in table]
    listed = []
    counted: dict[tuple[str, str | None], list[str]] = {}
    for name in images:
        row = table[name] if table is not None else {}
        parts = name.split("/")
        subject = row.get("subject_id") or (parts[0] if len(parts) > 1 else PurePosixPath(name).stem)
        mask = str(PurePosixPath(name).with_suffix("")) + MASK
        prompt = row.get("prompt") or prompt_of(parts[1:], prompts.get(subject, ()))
        listed.append(
            FolderImage(
                subject_id=subject,
                uri=join(uri, name),
                prompt=prompt,
                class_name=row.get("class_name") or None,
                mask=join(uri, mask) if mask in masks else None,
                sample=len(counted.setdefault((subject, prompt), [])),
            )
        )
        counted[subject, prompt].append(name)
    return listed


def prompt_of(parts: Sequence[str], prompts: Sequence[str]) -> str | None:
    """The prompt that the path below a subject's folder states: an index into `prompts`, or words."""
    if not parts:
        return None
    name = parts[0] if len(parts) > 1 else PurePosixPath(parts[0]).stem
    index = re.fullmatch(r"(\d+)(?:[-_ ]\d+)?", name)
    if index:
        number = int(index[1])
        return prompts[number] if number < len(prompts) else None
    words = " ".join(re.sub(r"(?:[-_ ]+\d+)?$", "", name).replace("_", " ").split())
    return words if " " in words else None


def _read_table(uri: str) -> dict[str, dict[str, str]]:
    location = join(uri, TABLE)
    try:
        rows = list(
            csv.DictReader(
                io.StringIO(store_for(uri).read(location, MAX_TABLE_BYTES).decode("utf-8-sig"), newline="")
            )
        )
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{location}: must be a CSV file in UTF-8: {error}") from error
    if not rows or not {"file", "prompt"} <= set(rows[0]):
        got = ", ".join(rows[0]) if rows else "no rows"
        raise CatalogError(f"{location}: needs rows with the columns file and prompt, got {got}")
    return {row["file"]: {key: (value or "").strip() for key, value in row.items() if key} for row in rows}
