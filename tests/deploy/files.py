"""The files under deploy/ and the templates of `dreamcache deploy render`, parsed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
TEMPLATES = REPOSITORY / "jobs" / "deploy" / "templates"


def documents(name: str) -> list[dict[str, Any]]:
    return list(
        yaml.safe_load_all(((TEMPLATES if (TEMPLATES / name).exists() else DEPLOY) / name).read_text())
    )


def of_kind(name: str, kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents(name) if document["kind"] == kind]
    return found


def as_json(name: str) -> Any:
    return json.loads((DEPLOY / name).read_text())


def pinned(package: str) -> str:
    """A package's version in constraints.txt."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    (found,) = [line.partition("==")[2] for line in lines if line.startswith(f"{package}==")]
    return found


def pods(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of the group, pod spec) of a RayCluster's spec."""
    yield "head", spec["headGroupSpec"]["template"]["spec"]
    for group in spec["workerGroupSpecs"]:
        yield group["groupName"], group["template"]["spec"]
