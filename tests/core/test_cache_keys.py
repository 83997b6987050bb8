"""Ids name all that decides an image; what does not matter is not in them."""

from __future__ import annotations

import pytest

from dreamcache.core.config import EncodeSettings
from dreamcache.core.records import cache_key


def key(class_name: str, **settings: object) -> str:
    return cache_key("r" * 64, "b" * 64, EncodeSettings(**settings), class_name)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"segmenter": "grounded-sam"}, {"segmenter": "lang-sam"}])
def test_a_prompted_segmenter_has_features_by_class(settings: dict[str, str]) -> None:
    assert key("mug", **settings) != key("chair", **settings)


def test_other_segmenters_share_features_among_classes() -> None:
    assert key("mug", segmenter="grabcut") == key("chair", segmenter="grabcut")
