"""Reading a YAML file of settings into frozen values: --set changes, and errors that name file, key and remedy.

Shared by the files of jobs, trainings, evaluations and syntheses. Knows pydantic and YAML; knows nothing of any one
file's keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from dreamcache.core.config.rules import rules_of
from dreamcache.core.errors import DreamCacheError, SpecError, did_you_mean
from dreamcache.core.locations import anchored
from dreamcache.core.texts import shown
from dreamcache.storage.bounded import read_regular
from jobs.yaml_text import MAX_BYTES, parse_yaml

T = TypeVar("T")

MAX_PROBLEMS = 20
"""Broken rules that one message names."""
RULE_PROBLEMS = (
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "multiple_of",
    "finite_number",
    "string_pattern_mismatch",
)
"""What pydantic calls a broken rule of `config.rules`."""


class SpecFile(Generic[T]):
    """A kind of file, each of which holds the values of one dataclass."""

    def __init__(
        self, kind: type[T], name: str, *, remedy: str, check: Callable[[T], None] = lambda spec: None
    ) -> None:
        """name: what such a file describes, as errors call it. remedy: of a file that is missing.

        check: of a file as a whole, once its local paths are absolute; raises SpecError.
        """
        self._kind, self._name, self._remedy, self._check = kind, name, remedy, check
        self._adapter = TypeAdapter(kind)

    def load(self, path: str | Path, overrides: Mapping[str, Any] | None = None) -> T:
        """Reads a file; local paths in it are relative to its folder. overrides: {"group.key": value}.

        Raises SpecError with file, key, rule and remedy.
        """
        path = Path(path)
        values = _read(path, overrides or {}, self._name, self._remedy)
        spec = anchored(self.parse(values, where=str(path)), path.parent)
        self._check(spec)
        return spec

    def parse(self, values: Mapping[str, Any], where: str | None = None) -> T:
        """Checks plain values. Raises SpecError naming every broken rule; where: what it calls their source."""
        where = self._name if where is None else where
        foreign = next((key for key in values if not isinstance(key, str)), None)
        if foreign is not None:
            raise SpecError(f"{where}: keys must be texts, got {shown(foreign)}; quote it, or remove it")
        try:
            return self._adapter.validate_python(dict(values))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False)
            texts = [f"{where}: {_explain(problem, self._kind)}" for problem in problems[:MAX_PROBLEMS]]
            more = [f"and {len(problems) - MAX_PROBLEMS} more"] if problems[MAX_PROBLEMS:] else []
            raise SpecError("; ".join([*texts, *more])) from error
        except (RecursionError, OverflowError) as error:
            raise SpecError(
                f"{where}: values must be plain, got {type(error).__name__}; correct them"
            ) from error

    def dump(self, spec: T) -> str:
        """The whole value as YAML, defaults included, so that an output folder states all."""
        values = self._adapter.dump_python(spec, mode="json")
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _read(path: Path, overrides: Mapping[str, Any], name: str, remedy: str) -> dict[str, Any]:
    try:
        data = read_regular(path, MAX_BYTES, str(path))
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such {name} file; {remedy}") from error
    except DreamCacheError as error:
        raise SpecError(str(error)) from error
    except (OSError, ValueError) as error:  # no right to read it; a name with a NUL
        text = getattr(error, "strerror", None) or str(error)
        raise SpecError(
            f"{path}: must be a readable YAML file, got '{text}'; check path and rights"
        ) from error
    values = parse_yaml(data, str(path))
    if not isinstance(values, dict):
        raise SpecError(
            f"{path}: must hold 'key: value' lines, got {type(values).__name__}; see 'dreamcache schema'"
        )
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
    if (broken := _broken_rule(kind, problem)) is not None:
        return broken
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if problem["type"] == "value_error" else f", got {shown(problem['input'])}"
    return f"{path}: {message}{got}" if path else f"{message}{got}"


def _broken_rule(kind: Any, problem: Any) -> str | None:
    """A rule in a setting's type, in the words of `config.rules`; None for any other problem."""
    if problem["type"] not in RULE_PROBLEMS:
        return None
    # The last name is the setting; what follows it is an index or key within its value.
    for end in range(len(problem["loc"]), 0, -1):
        *groups, name = problem["loc"][:end]
        group = _group_at(kind, groups)
        rule = dict(rules_of(group)).get(name) if group is not None else None
        if rule is not None:
            where = f"{'.'.join(map(str, groups))}: " if groups else ""
            return f"{where}{name} must be {rule.words_for(problem['input'])}, got {shown(problem['input'])}"
    return None


def _group_at(kind: Any, path: Sequence[Any]) -> Any:
    """The dataclass at a path of names from `kind`, or None where there is none."""
    for part in path:
        # A group that may be left out is "Group | None", several are "tuple[Group, ...]".
        hint = get_type_hints(kind).get(part) if isinstance(part, str) else kind
        kind = next((one for one in (hint, *get_args(hint)) if is_dataclass(one)), None)
        if kind is None:
            return None
    return kind


def _names_at(kind: Any, path: Sequence[Any]) -> list[str]:
    group = _group_at(kind, path)
    return [item.name for item in fields(group)] if group is not None else []


def _set(values: dict[str, Any], keys: list[str], value: Any) -> None:
    if not all(keys):
        raise SpecError(f"--set {'.'.join(keys)}: must name a setting, KEY or GROUP.KEY; correct it")
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise SpecError(
                f"--set {'.'.join(keys)}: '{key}' is no group of settings; see 'dreamcache schema'"
            )
    values[keys[-1]] = value
