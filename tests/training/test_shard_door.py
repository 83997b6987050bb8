"""The door for training data: each shard of the corpus is refused in one line, or costs the sample that is bad."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dreamcache.core.config.train import DataSettings
from dreamcache.core.errors import DreamCacheError, ImageError
from dreamcache.training.dataset import Samples
from tests.corpus.kind import USED, Kind, case_id, cases
from tests.corpus.measure import SECONDS
from tests.corpus.shard_changes import build


@pytest.mark.parametrize(("kind", "name"), cases("shard"), ids=case_id)
def test_each_shard_has_its_outcome(kind: Kind, name: str, tmp_path: Path) -> None:
    build(tmp_path)
    kind.inputs[name](tmp_path)
    began = time.monotonic()
    code, message = USED, ""
    try:
        samples = Samples(
            DataSettings(path=str(tmp_path), on_no_mask="whole_image", max_bad_share=1), str(tmp_path)
        )
        everything = range(len(samples))
        read = [samples.read((number, *everything)) for number in everything]
        assert read and len(samples.bad) <= 1
    except DreamCacheError as error:
        # Its only sample is the bad one.
        if not (isinstance(error, ImageError) and name == "parquet: 80 MB in a cell"):
            code, message = error.code, str(error)
    assert code == kind.code, message
    assert time.monotonic() - began < SECONDS
    assert "\n" not in message and len(message) < 1000
