"""The examples in the docstrings of the Python API run as they stand, on the embedded model."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import dreamcache
from dreamcache import DreamCachePipeline, SubjectFeatures, attention_maps
from dreamcache.inference import attention, parts, pipeline
from dreamcache.model import features
from tests.end_to_end.photos import picture

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MUST_HAVE = [
    dreamcache,
    DreamCachePipeline,
    DreamCachePipeline.from_pretrained,
    DreamCachePipeline.save_pretrained,
    DreamCachePipeline.encode_reference,
    DreamCachePipeline.__call__,
    DreamCachePipeline.to,
    SubjectFeatures,
    SubjectFeatures.save,
    SubjectFeatures.load,
    attention_maps,
]


@pytest.mark.parametrize(
    "module", [dreamcache, pipeline, parts, features, attention], ids=lambda m: m.__name__
)
def test_examples_run(module: ModuleType, tmp_path: Path) -> None:
    pipe = DreamCachePipeline.from_pretrained("mini")
    pipe.set_progress_bar_config(disable=True)
    names: dict[str, Any] = {
        "DreamCachePipeline": DreamCachePipeline,
        "SubjectFeatures": SubjectFeatures,
        "attention_maps": attention_maps,
        "pipe": pipe,
        "subject": pipe.encode_reference(picture(0)),
        "photo": picture(0),
        "folder": str(tmp_path / "folder"),
        "np": np,
        "torch": torch,
    }
    results = doctest.testmod(module, extraglobs=names, optionflags=OPTIONS)
    assert results.attempted > 0 and results.failed == 0


def test_public_names_have_examples() -> None:
    assert [one for one in MUST_HAVE if ">>> " not in (one.__doc__ or "")] == []
