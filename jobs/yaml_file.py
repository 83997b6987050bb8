"""Reading a YAML file of settings into frozen values: --set changes, and errors that name file, key and remedy.

Shared by job files and training files. Knows pydantic and YAML; knows nothing of any one file's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from dreamcache.errors import SpecError, did_you_mean

T = TypeVar("T")


def read_yaml(path: Path, overrides: Mapping[str, Any], *, kind: str, remedy: str) -> dict[str, Any]:
    """The file's values, with overrides {"a.b": value} set. Raises SpecError; `kind` names what is missing."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such {kind}; {remedy}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        hint = (
            "; quote texts that begin with or, in [lists], hold { }"
            if isinstance(error, yaml.YAMLError)
            else ""
        )
        raise SpecError(
            f"{path}: must be a readable YAML file: {' '.join(str(error).split())}{hint}"
        ) from error
    if not isinstance(values, dict):
        raise SpecError(f"{path}: must hold 'key: value' lines, got {type(values).__name__}")
    for dotted, value in overrides.items():
        _set(values, dotted.split("."), value)
    return values


def parse(adapter: TypeAdapter[T], kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Checks plain values against the dataclass `kind`. Raises SpecError naming every broken rule."""
    try:
        return adapter.validate_python(dict(values))
    except ValidationError as error:
        raise SpecError(
            "; ".join(f"{where}: {_explain(problem, kind)}" for problem in error.errors())
        ) from error


def dump(adapter: TypeAdapter[T], value: T) -> str:
    """The whole value as YAML, defaults included."""
    return yaml.safe_dump(adapter.dump_python(value, mode="json"), sort_keys=False, allow_unicode=True)


def anchor(uri: str, folder: Path) -> str:
    """A local path made absolute against the file's folder; URIs as they are."""
    return uri if "://" in uri else str((folder / Path(uri).expanduser()).absolute())


def _explain(problem: Any, kind: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        known = _names_at(kind, problem["loc"][:-1])
        return f"unknown key '{path}'{did_you_mean(str(problem['loc'][-1]), known)}"
    if problem["type"].startswith("missing"):
        return f"key '{path}' is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if problem["type"] == "value_error" else f", got {problem['input']!r}"
    return f"{path}: {message}{got}" if path else f"{message}{got}"


def _names_at(kind: Any, loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        hint = get_type_hints(kind).get(part)
        # A group that may be left out is "Group | None".
        kind = next((one for one in (hint, *get_args(hint)) if is_dataclass(one)), None)
        if kind is None:
            return []
    return [item.name for item in fields(kind)]


def _set(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise SpecError(f"--set {'.'.join(keys)}: '{key}' is no group of settings")
    values[keys[-1]] = value
