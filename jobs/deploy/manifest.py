"""Templates of manifests: read from the package, placeholders filled, written as YAML without anchors.

Knows texts and YAML; knows nothing of what a manifest means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, TypeVar, cast

import yaml

from dreamcache.core.errors import SpecError, did_you_mean

PLACEHOLDERS = (
    "REGISTRY", "CPU_DIGEST", "CUDA_DIGEST", "ACCOUNT", "API_SERVER_CIDR", "REGION", "AMI", "SUBNET",
    "SECURITY_GROUP", "KEY_NAME",
)  # fmt: skip
_PLACEHOLDER = re.compile(rf"\b({'|'.join(PLACEHOLDERS)})\b")
T = TypeVar("T")
Document = dict[str, Any]


class _Plain(yaml.SafeDumper):
    """Without anchors, which a reader of a manifest would have to follow; long texts as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def template(name: str) -> list[Document]:
    """The documents of a template, kuberay/job.yaml."""
    text = files("jobs.deploy").joinpath("templates", *name.split("/")).read_text("utf-8")
    return list(yaml.safe_load_all(text))


def dump(documents: list[Document], head: str) -> str:
    """YAML of several documents below a comment."""
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    return comment + yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


def filled(value: T, values: Mapping[str, str]) -> T:
    """A document with placeholders replaced in all its texts. Raises SpecError for one that is not known."""
    for name in values:
        if name not in PLACEHOLDERS:
            raise SpecError(
                f"--value {name}: must be one of {', '.join(PLACEHOLDERS)}{did_you_mean(name, PLACEHOLDERS)}"
            )
    if isinstance(value, str):
        return cast(T, _PLACEHOLDER.sub(lambda match: values.get(match[1], match[1]), value))
    if isinstance(value, list):
        return cast(T, [filled(one, values) for one in value])
    if isinstance(value, dict):
        return cast(T, {key: filled(one, values) for key, one in value.items()})
    return value


def open_placeholders(text: str) -> list[str]:
    """Those that a manifest still holds, comments aside."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return sorted(set(_PLACEHOLDER.findall("\n".join(lines))))
