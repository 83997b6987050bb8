"""Ids name all that decides an image; what does not matter is not in them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dreamcache.core.config import EncodeSettings, GenerationSettings, ImageFormat
from dreamcache.core.records import cache_key, item_id

PROMPTED = [
    EncodeSettings(segmenter="grounded-sam"),
    EncodeSettings(segmenter="lang-sam"),
    EncodeSettings(segmenter="none", text="a {class_name}"),
]
NOT_PROMPTED = [EncodeSettings(segmenter="grabcut"), EncodeSettings(segmenter="none", text="a mug")]


def key(settings: EncodeSettings, class_name: str) -> str:
    return cache_key("r" * 64, "b" * 64, settings, class_name)


@pytest.mark.parametrize("settings", PROMPTED)
def test_a_class_name_that_is_read_is_in_the_key(settings: EncodeSettings) -> None:
    assert len({key(settings, name) for name in ("mug", "dog", "")}) == 3


@pytest.mark.parametrize("settings", NOT_PROMPTED)
def test_a_class_name_that_nobody_reads_is_not(settings: EncodeSettings) -> None:
    assert key(settings, "mug") == key(settings, "dog")


def ident(settings: GenerationSettings) -> str:
    return item_id(
        subject_id="s", cache_key="k", prompt="p", sample=0, seed=0, adapter_fingerprint="a", settings=settings,
        image_format=ImageFormat(),
    )  # fmt: skip


def test_steps_and_scales_that_are_not_set_have_the_id_of_what_they_resolve_to() -> None:
    unset = GenerationSettings()
    paper = GenerationSettings(num_inference_steps=50, text_scale=7.5, image_scale=0.4)
    assert unset.resolved({}) == paper and ident(unset.resolved({})) == ident(paper)
    assert unset.resolved({"text_scale": 3.0}) == replace(paper, text_scale=3.0)
    assert GenerationSettings(text_scale=2.0).resolved({"text_scale": 3.0, "image_scale": 3.5}) == (
        replace(paper, text_scale=2.0, image_scale=3.5)
    )
    assert unset.resolved({"num_inference_steps": 4}) == replace(paper, num_inference_steps=4)
    with pytest.raises(ValueError, match="text_scale must be resolved before it enters an id"):
        ident(unset)
