"""Item ids, cache keys and seeds of fixed jobs are those of `ids.json`: a change there is on purpose, or a fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pinned.record import record_ids

PINNED = json.loads(Path(__file__).with_name("ids.json").read_text())


def test_ids_and_keys_of_mini_and_of_a_stable_diffusion_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert record_ids(tmp_path) == PINNED
