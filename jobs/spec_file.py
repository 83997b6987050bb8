"""Reading a YAML file of settings into frozen values: --set changes, and errors that name file, key and remedy.

Shared by the files of jobs, trainings, evaluations and syntheses. Knows pydantic and YAML; knows nothing of any one
file's keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from dreamcache.core.errors import SpecError, did_you_mean

T = TypeVar("T")


class SpecFile(Generic[T]):
    """A kind of file, each of which holds the values of one dataclass."""

    def __init__(self, kind: type[T], name: str, *, remedy: str, anchored: Callable[[T, Path], T]) -> None:
        """name: what such a file describes, as errors call it. remedy: said where the file is missing.

        anchored: (value, the file's folder) to the value with local paths made absolute, and checked as a whole.
        """
        self._kind, self._name, self._remedy, self._anchored = kind, name, remedy, anchored
        self._adapter = TypeAdapter(kind)

    def load(self, path: str | Path, overrides: Mapping[str, Any] | None = None) -> T:
        """Reads a file; local paths in it are relative to its folder. overrides: {"group.key": value}.

        Raises SpecError with file, key, rule and remedy.
        """
        path = Path(path)
        values = _read(path, overrides or {}, self._name, self._remedy)
        return self._anchored(self.parse(values, where=str(path)), path.parent)

    def parse(self, values: Mapping[str, Any], where: str | None = None) -> T:
        """Checks plain values. Raises SpecError naming every broken rule; where: what it calls their source."""
        where = self._name if where is None else where
        try:
            return self._adapter.validate_python(dict(values))
        except ValidationError as error:
            raise SpecError(
                "; ".join(f"{where}: {_explain(problem, self._kind)}" for problem in error.errors())
            ) from error

    def dump(self, spec: T) -> str:
        """The whole value as YAML, defaults included, so that an output folder tells all."""
        values = self._adapter.dump_python(spec, mode="json")
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def anchor(uri: str, folder: Path) -> str:
    """A local path made absolute against the file's folder; URIs as they are."""
    return uri if "://" in uri else str((folder / Path(uri).expanduser()).absolute())


def anchor_model(name: str, folder: Path) -> str:
    """A model that may be named or be a folder: made absolute where there is such a folder beside the file."""
    return anchor(name, folder) if (folder / name).is_dir() else name


def _read(path: Path, overrides: Mapping[str, Any], name: str, remedy: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such {name} file; {remedy}") from error
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
