"""Bounds of YAML from people: values behind aliases count at each use."""

from __future__ import annotations

import pytest

from dreamcache.core.errors import SpecError
from jobs.yaml_text import MAX_NODES, parse_yaml

DOUBLED = "".join(f"a{n}: &a{n} [{f'*a{n - 1}, *a{n - 1}' if n else 'x, x'}]\n" for n in range(40))


def test_a_bomb_of_aliases_is_refused_before_it_is_read() -> None:
    with pytest.raises(
        SpecError, match=f"job.yaml: line [0-9]+: may hold at most {MAX_NODES:,} values, aliases"
    ):
        parse_yaml(DOUBLED, "job.yaml")


def test_an_alias_is_what_it_names() -> None:
    assert parse_yaml("a: &a [x, y]\nb: [*a, *a]\n", "job.yaml") == {
        "a": ["x", "y"],
        "b": [["x", "y"], ["x", "y"]],
    }
