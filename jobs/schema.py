"""JSON Schemas of the settings files, from the same types that read them; editors check and complete YAML with them.

    dataclass -> pydantic -> JSON Schema (draft 2020-12), each key described by its class's docstring

Knows the five kinds of files and how docstrings describe keys; knows nothing of what a setting does. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

FileKind = Literal["job", "train", "evaluate", "synthesize", "ablate"]
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SPECS: dict[FileKind, tuple[str, str]] = {
    "job": ("jobs.spec", "JobSpec"),
    "train": ("jobs.train.spec", "TrainSpec"),
    "evaluate": ("jobs.evaluate.spec", "EvalSpec"),
    "synthesize": ("jobs.synthesize.spec", "SynthSpec"),
    "ablate": ("jobs.ablate.spec", "AblateSpec"),
}


def json_schema(kind: FileKind) -> dict[str, Any]:
    """The schema of one kind of file; unknown keys are refused by it as by the program."""
    module, name = _SPECS[kind]
    schema = TypeAdapter(getattr(import_module(module), name)).json_schema()
    for group in (schema, *schema.get("$defs", {}).values()):
        _describe(group)
    return {"$schema": DRAFT, **schema, "title": f"dreamcache {kind} file"}


def _describe(group: dict[str, Any]) -> None:
    """Moves the docstring's meaning of each key to the key."""
    properties: dict[str, Any] = group.get("properties", {})
    text = " ".join(str(group.get("description", "")).split())
    intro, meanings = read_docstring(text, properties)
    for name, value in properties.items():
        value.pop("title", None)  # pydantic's is the key itself, with spaces
        if name in meanings:
            value.setdefault("description", meanings[name])
    group["description"] = intro
    if not intro:
        del group["description"]


def read_docstring(text: str, names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """(a docstring's text about the whole, {key: its meaning}).

    Keys are described as "key: meaning", "key, other: meaning", or by a sentence that begins with the key.
    """
    alternatives = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    if not alternatives:
        return text, {}
    keys = rf"(?:{alternatives})(?:(?:, | and )(?:{alternatives}))*"
    starts = list(re.finditer(rf"(?:(?<=^)|(?<=[.;:,)] ))({keys})(: | (?=maps|is|are|says|holds))", text))
    meanings: dict[str, str] = {}
    for number, start in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
        is_sentence = start.group(2) == " "
        meaning = text[start.start() if is_sentence else start.end() : end].strip().rstrip(";,")
        for name in re.split(r", | and ", start.group(1)):
            meanings.setdefault(name, meaning)
    return (text[: starts[0].start()] if starts else text).strip("; "), meanings
