"""The published DreamBench folder: `<subject>/00.jpg ...` beside `prompts_and_classes.txt`.

    folder -> Benchmark(subjects: photos, class, prompts)

Object prompts for things, live-subject prompts for cats and dogs, as published; the rare token that stands for a
fine-tuned subject is omitted, since no method here is fine-tuned. Knows storage; knows nothing of jobs or models.
"""

from __future__ import annotations

import ast
import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dreamcache.core.errors import CatalogError
from dreamcache.evaluation.folder import MAX_TABLE_BYTES
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.store import relative_to

PROMPTS_FILE = "prompts_and_classes.txt"
LIVE_CLASSES = ("cat", "dog")
Words = Literal["dreambench", "authors"]
AUTHORS_WORDS: Mapping[str, str] = {
    "bear_plushie": "bear plushie",
    "colorful_sneaker": "sneakers",
    "duck_toy": "duck toy",
    "grey_sloth_plushie": "sloth plushie",
    "pink_sunglasses": "sunglasses",
    "poop_emoji": "emoji toy",
    "rc_car": "toy car",
    "robot_toy": "toy robot",
    "wolf_plushie": "wolf plushie",
}
"""What the published sampling script of DreamCache calls subjects, where that differs from DreamBench's own list."""
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
PUBLISHED_SUBJECTS = 30
PROMPTS_EACH = 25
PUBLISHED_SAMPLES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchSubject:
    """photos: URIs in order of their names. prompts: templates with {class_name}, in the published order."""

    subject_id: str
    class_name: str
    photos: tuple[str, ...]
    prompts: tuple[str, ...]

    @property
    def is_live(self) -> bool:
        return self.class_name in LIVE_CLASSES

    def filled(self) -> tuple[str, ...]:
        """The prompts with the class's name in them."""
        return tuple(prompt.replace("{class_name}", self.class_name) for prompt in self.prompts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """Subjects that have a folder; `missing` are those that the file names and the folder lacks."""

    subjects: tuple[BenchSubject, ...]
    missing: tuple[str, ...]


def read_dreambench(
    uri: str, *, subjects: tuple[str, ...] = (), num_prompts: int | None = None, words: Words = "dreambench"
) -> Benchmark:
    """Reads the folder at a path or s3:// URI.

    subjects: only these; num_prompts: only the first so many of each. words: the classes as the folder names them, or
    as the authors' script does. Raises CatalogError.
    """
    classes, objects, live = _read_prompts(uri)
    if words == "authors":
        classes = {name: AUTHORS_WORDS.get(name, class_name) for name, class_name in classes.items()}
    photos: dict[str, list[str]] = {}
    for info in store_for(uri).list(uri):
        parts = relative_to(info.uri, uri).split("/")
        if len(parts) == 2 and parts[1].lower().endswith(PHOTO_SUFFIXES):
            photos.setdefault(parts[0], []).append(info.uri)
    unknown = [name for name in subjects if name not in photos or name not in classes]
    if unknown:
        raise CatalogError(
            f"benchmark '{uri}': subject '{unknown[0]}' must be a folder of photos and named in {PROMPTS_FILE}; "
            f"there are {', '.join(sorted(set(photos) & set(classes)))}"
        )
    chosen = [
        BenchSubject(
            subject_id=name,
            class_name=class_name,
            photos=tuple(sorted(photos[name])),
            prompts=(live if class_name in LIVE_CLASSES else objects)[:num_prompts],
        )
        for name, class_name in classes.items()
        if name in photos and (not subjects or name in subjects)
    ]
    if not chosen:
        raise CatalogError(f"benchmark '{uri}': needs a folder of photos for each subject, got none")
    return Benchmark(subjects=tuple(chosen), missing=tuple(name for name in classes if name not in photos))


def _read_prompts(uri: str) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """(class by subject, object prompts, live-subject prompts)."""
    location = join(uri, PROMPTS_FILE)
    try:
        text = store_for(uri).read(location, MAX_TABLE_BYTES).decode("utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise CatalogError(
            f"benchmark '{uri}': needs {PROMPTS_FILE} as DreamBooth's data set has it, got none that can be read"
        ) from error
    head, _, tail = text.partition("Object Prompts")
    rows = [row for row in csv.reader(io.StringIO(head)) if len(row) == 2]
    classes = {row[0].strip(): row[1].strip() for row in rows if row[0].strip() != "subject_name"}
    objects, divider, live = tail.partition("Live Subject Prompts")
    prompts = _templates(objects), _templates(live)
    if not classes or not divider or not all(prompts):
        raise CatalogError(
            f"{location}: must hold 'subject,class' lines, 'Object Prompts' and 'Live Subject Prompts'; got "
            f"{len(classes)} classes, {len(prompts[0])} object and {len(prompts[1])} live-subject prompts"
        )
    return classes, *prompts


def _templates(text: str) -> tuple[str, ...]:
    """`'a {0} {1} in the jungle'.format(...)` as `a {class_name} in the jungle`."""
    quoted = re.findall(r"""^\s*(u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))\.format\(""", text, re.MULTILINE)
    plain = (str(ast.literal_eval(one)) for one in quoted)
    return tuple(" ".join(one.replace("{0}", "").replace("{1}", "{class_name}").split()) for one in plain)
