"""What is part of an id: each of these changes it."""

from __future__ import annotations

from typing import Any

from dreamcache.core import ids
from dreamcache.core.config import GenerationSettings, ImageFormat
from dreamcache.core.records import Reference, gated_template, item_id


def test_each_try_has_a_seed_of_its_own_and_the_first_the_items() -> None:
    seeds = [ids.seed_of_try(5, number) for number in range(4)]
    assert seeds[0] == 5 and len(set(seeds)) == 4


def test_noise_gate_and_mask_change_the_id() -> None:
    item: dict[str, Any] = {
        "subject_id": "a", "cache_key": "b", "prompt": "c", "sample": 0, "seed": 1, "adapter_fingerprint": "d",
        "settings": GenerationSettings().resolved({}), "image_format": ImageFormat(),
    }  # fmt: skip
    assert item_id(**item) != item_id(**item, noise="scene")
    assert len({item_id(**item, quality=quality) for quality in (None, "strict", "lax")}) == 3
    assert gated_template("strict").key(item="x") != gated_template("lax").key(item="x")
    assert len({Reference.id_of(b"photo", mask) for mask in (None, b"", b"mask")}) == 3
