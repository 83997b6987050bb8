"""The table of truth checks at a tenth of its size, its ROC areas, and that products are what they should be."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dreamcache.evaluation.truth.ciede2000 import ciede2000, lab_of
from dreamcache.evaluation.truth.placement import print_of, without_surroundings
from dreamcache.storage.models.onnx_file import has_runtime
from recipes.quality.products import SIDE, Shot, picture, product, shot, with_another_letter
from recipes.quality.truth import CHANGES, checkers_of, measured, roc_area, states, table

MODELS = Path(os.environ.get("DREAMCACHE_MODELS", "models"))
PRODUCTS = 8


def test_roc_area() -> None:
    assert roc_area([2, 3], [0, 1]) == 1.0 and roc_area([0, 1], [2, 3]) == 0.0
    assert roc_area([1, 1], [1, 1]) == 0.5
    assert roc_area([-np.inf, 1], [-np.inf]) == 0.75


def test_a_change_changes_what_it_says() -> None:
    one = product(5)
    other = with_another_letter(one, np.random.default_rng(0))
    assert sum(a != b for a, b in zip("".join(one.words), "".join(other.words), strict=True)) == 1
    how = Shot(seed=5)
    plain, mask = picture(one, how)
    assert np.array_equal(plain, picture(one, how)[0]), "same arguments, same pixels"
    _, less = picture(one, how, "missing")
    assert 0.88 < less.sum() / mask.sum() < 0.92
    moved, _ = picture(one, how, "colour")
    before, after = (np.median(lab_of(rgb[mask]), axis=0) for rgb in (plain, moved))
    assert 4 < float(ciede2000(before, after)) < 11
    assert picture(one, how, "blank")[0].std() == 0


def test_surroundings_are_taken_from_a_segment_where_print_shows_the_place() -> None:
    number = 43  # before houses, which a segmenter of salient objects takes with it
    photo, photo_mask = picture(product(number), Shot(seed=number))
    image, mask = picture(product(number), shot(number))
    prints = [print_of(photo, photo_mask)]
    segment = mask.copy()
    segment[: SIDE // 2] = True
    cut = without_surroundings(image, segment, prints)
    assert (cut & mask).sum() == mask.sum() and (cut & ~mask).sum() < 0.12 * mask.sum()
    bitten = segment & ~np.roll(mask, SIDE // 3, axis=0)
    assert not (without_surroundings(image, bitten, prints) & ~bitten).any(), "nothing is added"
    for unchanged in (mask, mask & ~np.roll(mask, SIDE // 4, axis=0)):
        assert np.array_equal(without_surroundings(image, unchanged, prints), unchanged)
    # Without print there are no points: the segment stays.
    plain = np.full_like(photo, 255)
    plain[photo_mask] = (120, 60, 30)
    assert np.array_equal(without_surroundings(image, segment, [print_of(plain, photo_mask)]), segment)
    assert np.array_equal(without_surroundings(image, segment, []), segment)


@pytest.mark.slow
def test_changed_products_are_separated_from_untouched_ones() -> None:
    """A tenth of the table in docs/quality.md. Without the networks of "make models", print is left out."""
    folder = MODELS / "rapidocr"
    ocr = str(folder) if folder.is_dir() and has_runtime() else None
    rows = list(measured(checkers_of(ocr, None), range(PRODUCTS)))
    lines = {(line["score"], line["change"]): line["roc"] for line in table(rows)}
    assert rows[0].keys() == set(CHANGES)
    assert lines["colour_difference", "colour"] >= 0.9  # type: ignore[operator]
    assert lines["contrast", "blank"] == 1.0
    if ocr:
        assert lines["label_words", "letter"] >= 0.85  # type: ignore[operator]
        assert states(rows)["blurred"].get("unreadable", 0) >= PRODUCTS - 1
