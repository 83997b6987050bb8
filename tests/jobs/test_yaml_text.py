"""Bounds of YAML from people: values behind aliases count at each use."""

from __future__ import annotations

import pytest

from dreamcache.core.errors import SpecError
from jobs.spec import parse_spec
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


def test_words_are_texts_but_true_and_false() -> None:
    """The country Norway, and `compile: off`."""
    text = "a: [off, on, no, yes, y, NO]\nb: [true, False]\n"
    assert parse_yaml(text, "job.yaml") == {"a": ["off", "on", "no", "yes", "y", "NO"], "b": [True, False]}


def test_settings_take_words() -> None:
    values = parse_yaml(
        "{name: n, catalog: c, output: o, prompts: [a], model: {compile: off, allow_other_base: no, adapter: null}, "
        "workers: {overlap_decoding: on}, provenance: off}",
        "job.yaml",
    )
    assert isinstance(values, dict)
    spec = parse_spec(values)
    assert (spec.model.compile, spec.model.allow_other_base) == ("off", False)
    assert (spec.workers.overlap_decoding, spec.provenance.marking) == ("on", "off")
