"""retry: failed and blocked items by reason and by status, and a dry run that states what it would try."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamcache.core.errors import SpecError
from dreamcache.core.records import Blocked, Failed
from jobs.running.retry import chooser
from tests.command import error_of, in_process, write_job

FAILED = Failed(item_id="a", code="missing_image", message="m")
BLOCKED = Blocked(item_id="b", code="safety_checker", message="m")


@pytest.mark.parametrize(
    ("reasons", "statuses", "expected"),
    [
        ((), (), [True, True]),
        (("missing_image",), (), [True, False]),
        ((), ("blocked",), [False, True]),
        (("missing_image",), ("blocked",), [False, False]),
    ],
)
def test_what_is_chosen(reasons: tuple[str, ...], statuses: tuple[str, ...], expected: list[bool]) -> None:
    assert [chooser(reasons, statuses)(outcome) for outcome in (FAILED, BLOCKED)] == expected


def test_a_wrong_status() -> None:
    with pytest.raises(
        SpecError, match=r"--status fialed: must be failed or blocked \(did you mean 'failed'\?\)"
    ):
        chooser((), ("fialed",))


@pytest.mark.slow
def test_the_reasons_are_counted_and_only_they_are_tried(tmp_path: Path, model: dict[str, str]) -> None:
    """Both items fail before a worker is needed: one photo is missing, the other's prompt cannot be filled."""
    (tmp_path / "catalog.csv").write_text("subject_id,image,prompts\na,none.png,x\nb,b.png,{colour}\n")
    (tmp_path / "b.png").write_bytes(b"photo")
    job = write_job(tmp_path, catalog="catalog.csv", output="output", model=model)
    refused = in_process("retry", job, "--dry-run")
    assert (refused.returncode, "has no manifest.parquet" in error_of(refused)) == (1, True)
    assert in_process("run", job, "--no-gallery").returncode == 3
    reasons = json.loads(in_process("retry", job, "--dry-run", "--json").stdout)
    assert {row["code"]: row["items"] for row in reasons} == {"missing_image": 1, "unknown_placeholder": 1}
    reasons = json.loads(in_process("retry", job, "--dry-run", "--json", "--reason", "missing_image").stdout)
    assert [(row["status"], row["code"]) for row in reasons] == [("failed", "missing_image")]
    assert json.loads(in_process("retry", job, "--dry-run", "--json", "--status", "blocked").stdout) == []
    assert in_process("retry", job, "--reason", "missing_image").returncode == 3
    rows = json.loads(in_process("outputs", job, "--json").stdout)
    assert {row["subject_id"]: row["attempts"] for row in rows} == {"a": 2, "b": 1}
