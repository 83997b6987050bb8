"""An evaluation's folder is its own, like a job's: refused before a cluster is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamcache.core.errors import SpecError
from jobs.evaluate.runner import run_evaluation
from jobs.evaluate.spec import parse_eval_spec


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    spec = parse_eval_spec(
        {"name": "x", "output": str(tmp_path), "methods": [{"name": "a", "job": "nowhere"}]}
    )
    with pytest.raises(
        SpecError, match=r"must be empty or this evaluation's, but holds .*notes.txt"
    ) as caught:
        run_evaluation(spec, quiet=True)
    assert caught.value.code == "other_job"
    assert not (tmp_path / "evaluate.yaml").exists()
