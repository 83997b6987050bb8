"""Where things are: types for the settings that name a location or a model, and what follows from these types.

    @dataclass class JobSpec: catalog: Location; cache: Written | None
    settings_of(spec) -> every location and model in it        anchored(spec, folder) -> local paths made absolute

Anchoring, visibility from a cluster, the doctor's checks and the need for credentials are found by walking the types
of a dataclass, so no list of settings is kept by hand. Knows texts and types; opens nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

S3_SCHEME = "s3://"
GS_SCHEME = "gs://"
AZ_SCHEME = "az://"
FILE_SCHEME = "file://"
OBJECT_SCHEMES = (S3_SCHEME, GS_SCHEME, AZ_SCHEME)
"""Stores of objects: scheme://bucket/key. At az:// only what is read may lie."""


class Kind(enum.Enum):
    """What a setting names."""

    READ = "a file or folder that is read"
    WRITTEN = "a folder that is written"
    MODEL = "a model: embedded, a folder, or a hub id"


Location = Annotated[str, Kind.READ]
"""A local path or a URI."""

Written = Annotated[str, Kind.WRITTEN]
"""A local path or a URI that the job writes to."""

ModelRef = Annotated[str, Kind.MODEL]
"""A model's name, or the path of its folder."""


@dataclass(frozen=True, slots=True)
class KeysOf:
    """Marks a mapping with some keys of a settings file: Annotated[Mapping[str, Any], KeysOf(JobSpec)]."""

    kind: type


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedSetting:
    """A setting with a value. key: as in the settings file, "model.adapter"."""

    key: str
    kind: Kind
    value: str

    @property
    def is_local(self) -> bool:
        """Whether it means files of one machine, which a cluster does not see."""
        return is_model_path(self.value) if self.kind is Kind.MODEL else is_local(self.value)

    @property
    def needs_s3(self) -> bool:
        """Whether AWS credentials are needed to use it."""
        return self.value.startswith(S3_SCHEME)


def is_uri(location: str) -> bool:
    """Whether it begins with a scheme."""
    return "://" in location


def is_object(location: str) -> bool:
    """Whether it lies in a store of objects."""
    return location.startswith(OBJECT_SCHEMES)


def split_object(uri: str) -> tuple[str, str, str]:
    """(scheme, bucket, key) of a location in a store of objects."""
    scheme, slashes, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return scheme + slashes, bucket, key


def is_local(location: str) -> bool:
    """Whether it is a path of this machine, written as such or as file://."""
    return not is_uri(location) or location.startswith(FILE_SCHEME)


def is_model_path(name: str) -> bool:
    """Whether a model's name means a folder of this machine."""
    return name.startswith((".", "/", "~")) or Path(name).is_dir()


def anchor(location: str, folder: Path) -> str:
    """A local path made absolute against `folder`; URIs as they are."""
    return location if is_uri(location) else str((folder / expanded(location)).absolute())


def anchor_model(name: str, folder: Path) -> str:
    """A model's name; made absolute where it is a folder beside the settings file."""
    return anchor(name, folder) if (folder / expanded(name)).is_dir() else name


def expanded(path: str) -> Path:
    """A local path with ~ and ~user replaced by that home; as it is where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def settings_of(spec: object) -> Iterator[LocatedSetting]:
    """Every location and model that a settings dataclass holds, in the order of its fields; empty ones left out."""
    settings: list[LocatedSetting] = []

    def note(key: str, kind: Kind, value: str) -> str:
        settings.append(LocatedSetting(key=key, kind=kind, value=value))
        return value

    _walk_fields(spec, "", note)
    yield from settings


def anchored(spec: T, folder: Path) -> T:
    """The same settings with local paths made absolute against `folder`, where their file is."""

    def absolute(key: str, kind: Kind, value: str) -> str:
        return anchor_model(value, folder) if kind is Kind.MODEL else anchor(value, folder)

    return _walk_fields(spec, "", absolute)


Visit = Callable[[str, Kind, str], str]


@lru_cache(maxsize=256)
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _walk_fields(value: T, key: str, visit: Visit) -> T:
    """A dataclass with every marked text replaced by visit(key, kind, text); the same object if nothing changes."""
    prefix = f"{key}." if key else ""
    kind: Any = type(value)
    changes = {}
    for field in fields(value):  # type: ignore[arg-type]
        before = getattr(value, field.name)
        after = _walk(before, _hints(kind)[field.name], f"{prefix}{field.name}", visit)
        if after is not before:
            changes[field.name] = after
    return replace(value, **changes) if changes else value  # type: ignore[type-var]


def _walk(value: Any, hint: Any, key: str, visit: Visit) -> Any:
    hint = _without_none(hint)
    if is_dataclass(value):
        return _walk_fields(value, key, visit)
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        for mark in marks:
            if isinstance(mark, Kind):
                return visit(key, mark, value) if isinstance(value, str) and value else value
            if isinstance(mark, KeysOf):
                return _walk_keys(value, mark.kind, key, visit)
        return _walk(value, inner, key, visit)
    arguments = get_args(hint)
    if isinstance(value, Mapping) and len(arguments) == 2:
        items = {name: _walk(one, arguments[1], f"{key}.{name}", visit) for name, one in value.items()}
        return items if any(items[name] is not value[name] for name in value) else value
    if isinstance(value, tuple) and arguments:
        members = tuple(_walk(one, arguments[0], f"{key}.{n}", visit) for n, one in enumerate(value))
        return members if any(a is not b for a, b in zip(members, value, strict=True)) else value
    return value


def _walk_keys(values: Any, kind: type, key: str, visit: Visit) -> Any:
    """Keys of a settings file that are not checked yet: what is of another type than `kind` has stays as it is."""
    if not isinstance(values, Mapping):
        return values
    hints = _hints(kind)
    changed = dict(values)
    for name in values.keys() & hints.keys():
        hint, where = _without_none(hints[name]), f"{key}.{name}"
        if is_dataclass(hint) and isinstance(hint, type):
            changed[name] = _walk_keys(values[name], hint, where, visit)
        else:
            changed[name] = _walk(values[name], hint, where, visit)
    return changed


def _without_none(hint: Any) -> Any:
    """X of `X | None`; any other hint as it is."""
    if get_origin(hint) in (Union, UnionType):
        members = [member for member in get_args(hint) if member is not NoneType]
        return members[0] if len(members) == 1 else hint
    return hint
