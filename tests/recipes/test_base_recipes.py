"""The job files for a base that nobody has here are ones that the commands would accept."""

from __future__ import annotations

from pathlib import Path

import pytest

import recipes
from jobs.evaluate.spec import load_eval_spec
from jobs.spec import load_spec
from jobs.synthesize.spec import load_synth_spec
from jobs.train.spec import load_train_spec

LOADERS = {
    "job.yaml": load_spec,
    "train.yaml": load_train_spec,
    "synthesize.yaml": load_synth_spec,
    "evaluate.yaml": load_eval_spec,
}
FILES = [
    path
    for base in ("sd21", "sdxl")
    for path in sorted((Path(recipes.__file__).parent / base).glob("*.yaml"))
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_it_is_parsed(path: Path) -> None:
    assert LOADERS[path.name](path).name.startswith(path.parent.name)
