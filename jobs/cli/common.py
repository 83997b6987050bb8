"""What several verbs share: --set values, the place of a job's output, choices, JSON and tables on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import typer

from dreamcache.core.errors import SpecError, did_you_mean
from dreamcache.core.texts import STEERING, printable, shown

if TYPE_CHECKING:
    from dreamcache.core.config.job import JobSpec

Verb = TypeVar("Verb", bound=Callable[..., Any])


def add_verb(app: typer.Typer, name: str, examples: Sequence[str]) -> Callable[[Verb], Verb]:
    """Registers a function as a verb; the examples end its help, a line each."""
    lines = "\n".join(f"  {example}" for example in examples)
    return app.command(name, epilog=f"\b\nExamples:\n{lines}")


def load(job: str, settings: Sequence[str]) -> JobSpec:
    """The job file with --set values applied."""
    from jobs.spec import load_spec

    return load_spec(job, settings_of(settings))


def settings_of(settings: Sequence[str]) -> dict[str, Any]:
    """{"a.b": value} of --set a.b=value; values are read as YAML. Raises SpecError."""
    from jobs.yaml_text import parse_yaml

    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise SpecError(f"--set {setting}: must be KEY=VALUE")
        try:
            overrides[key] = parse_yaml(value, key)
        except SpecError as error:
            raise SpecError(f"--set {setting}: the value must be YAML: {error}") from error
    return overrides


def filters_of(where: Sequence[str], **named: str | None) -> dict[str, str]:
    """{column: value} of --where COLUMN=VALUE and of options of their own; values are text. Raises SpecError."""
    filters: dict[str, str] = {}
    for setting in where:
        column, equals, value = setting.partition("=")
        if not equals:
            raise SpecError(f"--where {setting}: must be COLUMN=VALUE")
        filters[column] = value
    return filters | {name: value for name, value in named.items() if value is not None}


def check_choice(option: str, value: str | None, choices: Sequence[str]) -> None:
    """Raises SpecError for a value that is none of the choices; None is not checked."""
    if value is not None and value not in choices:
        raise SpecError(
            f"{option} {value}: must be one of {', '.join(choices)}{did_you_mean(value, choices)}"
        )


JOB_FILES = (".yaml", ".yml")


def output_of(place: str) -> str:
    """The output folder that a job file or an output URI names."""
    if not place.endswith(JOB_FILES):
        check_place(place)
        return place.rstrip("/") or place
    return load(place, ()).output


def cache_of(place: str) -> str:
    """The feature cache that a job file names, or the folder or URI itself."""
    if place.endswith(JOB_FILES):
        return load(place, ()).cache_uri
    check_place(place)
    return place


def check_place(place: str) -> None:
    """Raises SpecError for what no path and no URI is."""
    if not place.strip() or "\0" in unquote(place):
        raise SpecError(f"location {shown(place)}: must be a path or URI, got neither; correct it")


def print_json(value: object) -> None:
    """For scripts: one JSON value on stdout."""
    typer.echo(as_json_text(value))


def as_json_text(value: object) -> str:
    """JSON in which characters that steer a terminal are escaped, as JSON escapes them."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    return STEERING.sub(lambda match: json.dumps(match[0])[1:-1], text)


def echo(text: str) -> None:
    """Lines for people; values of catalogs and files in them cannot steer the terminal."""
    typer.echo(printable(text))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Aligned columns. Long cells are cut on a terminal only: a pipe gets every URI whole."""
    from jobs.formatting import table_lines

    for line in table_lines(columns, rows, cut=sys.stdout.isatty()):
        echo(line)
