"""FLUX.2 klein with several photos of a product: each is a reference of its own index, as in its own pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dreamcache.inference.families.flux2_klein.describe import FAMILY, LATENTS
from dreamcache.inference.families.flux2_klein.keys_values import ReferenceKV
from dreamcache.inference.families.flux2_klein.pipeline import KleinPipeline
from dreamcache.model.features import PhotoSet
from tests.families.klein import photo, save_klein
from tests.families.test_klein import EXACT, TOLERANCE, distance, ours, theirs


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> KleinPipeline:
    folder: Path = save_klein(tmp_path_factory.mktemp("klein"))
    base = FAMILY.describe_base(str(folder), None)
    return KleinPipeline(base, FAMILY.describe_adapter(None, base), dtype=torch.float32, device="cpu")


PHOTO_SIZES = ((64, 64), (100, 70), (66, 90))


def three(pipe: KleinPipeline) -> PhotoSet:
    pictures = [photo(number, size) for number, size in enumerate(PHOTO_SIZES, start=1)]
    return PhotoSet(photos=tuple(pipe.encode_reference(picture, settings=EXACT) for picture in pictures))


@pytest.mark.parametrize("steps", [4, 8])
@pytest.mark.parametrize("size", [(32, 32), (48, 24)])
def test_three_photos_are_references_of_their_own(
    pipe: KleinPipeline, steps: int, size: tuple[int, int]
) -> None:
    pictures = [photo(number, shape) for number, shape in enumerate(PHOTO_SIZES, start=1)]
    wanted = {"num_inference_steps": steps, "height": size[0], "width": size[1]}
    assert distance(ours(pipe, three(pipe), **wanted), theirs(pipe, pictures, **wanted)) < TOLERANCE


@pytest.mark.parametrize("wrong", ["order", "photo", "one less", "one twice", "index", "grid"])
def test_a_wrong_set_moves_pixels_a_hundred_times_further(
    pipe: KleinPipeline, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = three(pipe)
    right, (one, two, last) = ours(pipe, whole), whole.photos
    turned = replace(last, cache_key="t", maps={LATENTS: last.maps[LATENTS].transpose(1, 2).contiguous()})
    photos = {
        "order": (two, one, last),
        "photo": (one, two, pipe.encode_reference(photo(9, PHOTO_SIZES[2]), settings=EXACT)),
        "one less": (one, two),
        "one twice": (one, two, last, last),
        "index": (one, two, last),
        "grid": (one, two, turned),
    }[wrong]
    if wrong == "index":
        usual = pipe.base._prepare_image_ids
        monkeypatch.setattr(
            pipe.base, "_prepare_image_ids", lambda latents: usual([latents[0], *latents])[:, 256:]
        )
        monkeypatch.setattr(pipe, "keys_values", ReferenceKV(pipe.base))
    assert distance(right, ours(pipe, PhotoSet(photos=photos))) > 100 * TOLERANCE
