"""The name of a plan: made of the set of all its items, in whatever order and tables they are planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dreamcache.core.config.job import JobSpec
from jobs.planning import planner
from jobs.planning.planner import plan

A_FIRST = "subject_id,image\na,a.png\nb,b.png\n"
B_FIRST = "subject_id,image\nb,b.png\na,a.png\n"


def test_every_table_counts_and_their_order_does_not(
    make_spec: Callable[..., JobSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "ROWS_PER_TABLE", 1)  # a table for each subject
    name = plan(make_spec(A_FIRST)).fingerprint
    assert plan(make_spec(B_FIRST)).fingerprint == name
    for changed in ("a", "b"):
        spec = make_spec(A_FIRST)
        Path(spec.catalog).with_name(f"{changed}.png").write_bytes(b"another photo")
        assert plan(spec).fingerprint != name


def test_a_missing_mask_is_an_error_of_its_subject(make_spec: Callable[..., JobSpec]) -> None:
    spec = make_spec("subject_id,image,mask\na,a.png,none.png\nb,b.png,\n")
    rows = plan(spec).table.to_pylist()
    assert {row["subject_id"]: row["code"] for row in rows} == {"a": "missing_image", "b": None}
