"""What several verbs share: --set values, JSON output, tables, and where a job's output is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from dreamcache.core.errors import SpecError

if TYPE_CHECKING:
    from dreamcache.core.config.job import JobSpec

JSON_HELP = "Print JSON, for scripts."
JOB_HELP = "The job file (YAML)."
PLACE_HELP = "The job file, or the job's output folder or s3:// URI."
SET_HELP = "Change one setting: --set generation.scheduler=euler. May be repeated."


def load(job: str, settings: Sequence[str]) -> JobSpec:
    """The job file with --set values applied."""
    from jobs.spec import load_spec

    return load_spec(job, settings_of(settings))


def settings_of(settings: Sequence[str]) -> dict[str, Any]:
    """{"a.b": value} of --set a.b=value; values are read as YAML. Raises SpecError."""
    import yaml

    overrides: dict[str, Any] = {}
    for setting in settings:
        key, found, value = setting.partition("=")
        if not found:
            raise SpecError(f"--set {setting}: must be KEY=VALUE")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SpecError(
                f"--set {setting}: the value must be YAML: {' '.join(str(error).split())}"
            ) from error
    return overrides


def output_of(place: str) -> str:
    """The output folder that a job file or an output URI names."""
    if place.endswith((".yaml", ".yml")):
        return load(place, ()).output
    return place


def cache_of(place: str) -> str:
    """The feature cache that a job file names, or the folder or URI itself."""
    return load(place, ()).cache_uri if place.endswith((".yaml", ".yml")) else place


def print_json(value: Any) -> None:
    """For scripts: one JSON value on stdout."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Plain aligned columns, which a terminal shows and a pipe can cut."""
    texts = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(columns))]
    for row in texts:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def human_bytes(count: float) -> str:
    """E.g. 6.1 MB; powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
