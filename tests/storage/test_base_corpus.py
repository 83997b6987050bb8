"""Base models of the corpus: a damaged one ends in one line with its code, one that is merely odd is used as it is."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from dreamcache.core.errors import DreamCacheError
from dreamcache.inference.families import family_of
from dreamcache.storage.models.base import describe_base
from tests.corpus.kind import USED, Kind, case_id, cases
from tests.header_base import write_header_base

LONGEST_S = 10.0
LONGEST_TEXT = 600


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_header_base(tmp_path_factory.mktemp("good") / "base")


@pytest.mark.parametrize(("kind", "name"), list(cases("base")), ids=case_id)
def test_a_base_ends_as_its_kind_states(kind: Kind, name: str, good: Path, tmp_path: Path) -> None:
    """Case 28: raw errors of bases. Case 26: what is not loaded gives no other base. Case 27: fp16 alone."""
    folder = tmp_path / "base"
    shutil.copytree(good, folder)
    kind.inputs[name](folder)
    started = time.monotonic()
    code, message, fingerprint = described(folder)
    assert time.monotonic() - started < LONGEST_S
    assert code == kind.code, message
    assert "\n" not in message and len(message) < LONGEST_TEXT + 2 * len(str(tmp_path))
    if code != USED:
        assert str(folder) in message, "it names the file or folder"
    if "no-loader-takes" in kind.name:
        assert fingerprint == describe_base(str(good)).fingerprint


def described(folder: Path) -> tuple[str, str, str]:
    """(code, message, fingerprint) of a base as the planner describes it."""
    try:
        base = family_of("dreamcache", str(folder), None).describe_base(str(folder), None)
    except DreamCacheError as error:
        return error.code, str(error), ""
    return USED, "", base.fingerprint
