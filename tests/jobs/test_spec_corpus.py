"""Every settings file of the corpus is refused in one short line that holds no secret, or is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.errors import SpecError
from jobs.evaluate.spec import load_eval_spec
from jobs.spec import load_spec
from jobs.synthesize.spec import load_synth_spec
from jobs.train.spec import load_train_spec
from tests.corpus.kind import USED, Kind, case_id, cases

LOADERS: dict[str, Callable[[Path], Any]] = {
    "train": load_train_spec,
    "evaluate": load_eval_spec,
    "synthesize": load_synth_spec,
}


@pytest.mark.parametrize(("kind", "name"), cases("spec"), ids=case_id)
def test_a_settings_file_ends_as_its_kind_says(kind: Kind, name: str, tmp_path: Path) -> None:
    path = tmp_path / str(kind.inputs[name](tmp_path))
    load = LOADERS.get(path.stem, load_spec)
    if kind.code == USED:
        load(path)
        return
    with pytest.raises(SpecError) as raised:
        load(path)
    message = str(raised.value)
    assert raised.value.code == kind.code
    assert message.isprintable() and len(message) < 3000, message
    assert "hunter2" not in message
    assert "x" * 201 not in message
