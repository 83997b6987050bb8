"""The segmenters without networks, the registry, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.errors import ImageError, ModelError, SpecError
from dreamcache.segment import NAMES, REASONS, Segment, SegmenterSet, create_segmenter

TRUTH = np.zeros((30, 40), dtype=np.bool_)
TRUTH[5:20, 10:30] = True
GREY = Image.fromarray(np.where(TRUTH, 255, 0).astype(np.uint8))


def clear_photo() -> Image.Image:
    image = Image.new("RGBA", (40, 30), (200, 30, 30, 0))
    image.putalpha(GREY)
    return image


def opaque_photo() -> Image.Image:
    pixels = np.full((30, 40, 3), 255, dtype=np.uint8)
    pixels[TRUTH] = (30, 60, 160)
    return Image.fromarray(pixels)


def test_a_segment_is_a_mask_or_a_reason() -> None:
    assert Segment.of_mask(TRUTH, 0.5).score == 0.5
    assert Segment.of_mask(np.zeros_like(TRUTH)).reason == "empty_mask"
    assert Segment.without_mask("opaque").explanation == REASONS["opaque"]
    for wrong in ({"mask": None}, {"mask": TRUTH, "reason": "opaque"}, {"mask": None, "reason": "mood"}):
        with pytest.raises(ValueError, match="reason"):
            Segment(**wrong)  # type: ignore[arg-type]


def test_alpha() -> None:
    segmenter = create_segmenter("alpha")
    assert np.array_equal(segmenter(clear_photo()).mask, TRUTH)  # type: ignore[arg-type]
    assert segmenter(opaque_photo()).reason == "opaque"
    assert segmenter(opaque_photo().convert("RGBA")).reason == "opaque"
    assert segmenter(Image.new("RGBA", (40, 30))).reason == "transparent"


def test_file() -> None:
    segmenter = create_segmenter("file")
    assert np.array_equal(segmenter(opaque_photo(), "mug", GREY).mask, TRUTH)  # type: ignore[arg-type]
    assert segmenter(opaque_photo()).reason == "no_mask_given"
    assert segmenter(opaque_photo(), mask=Image.new("L", (40, 30))).reason == "empty_mask"
    with pytest.raises(ImageError, match="40x30 pixels, got 10x10"):
        segmenter(opaque_photo(), mask=Image.new("L", (10, 10)))


def test_none_takes_everything() -> None:
    mask = create_segmenter("none")(opaque_photo()).mask
    assert mask is not None
    assert mask.shape == (30, 40)
    assert mask.all()


def test_auto_prefers_the_file_then_transparency_then_grabcut() -> None:
    segmenters = SegmenterSet()
    other = Image.fromarray(np.where(TRUTH[::-1], 255, 0).astype(np.uint8))

    def seen(image: Image.Image, mask: Image.Image | None = None) -> np.ndarray:
        found = segmenters.segment(image, name="auto", class_name="mug", mask=mask).mask
        assert found is not None
        return found

    assert np.array_equal(seen(clear_photo(), other), TRUTH[::-1])
    assert np.array_equal(seen(clear_photo()), TRUTH)
    assert (seen(opaque_photo()) == TRUTH).mean() > 0.97
    empty = segmenters.segment(opaque_photo(), name="auto", mask=Image.new("L", (40, 30)))
    assert empty.reason == "empty_mask"


def test_each_backend_is_made_once() -> None:
    segmenters = SegmenterSet()
    segmenters.segment(opaque_photo(), name="none")
    [made] = segmenters._segmenters.values()
    segmenters.segment(opaque_photo(), name="none")
    assert list(segmenters._segmenters.values()) == [made]


def test_unknown_name_and_missing_package() -> None:
    with pytest.raises(SpecError, match="did you mean 'grabcut'"):
        create_segmenter("grabcat")
    assert set(NAMES) == {"auto", "alpha", "file", "grounded-sam", "lang-sam", "grabcut", "none", "u2net"}
    if find_spec("lang_sam") is None:
        with pytest.raises(ModelError, match=r"install the extra dreamcache\[lang-sam\]"):
            create_segmenter("lang-sam")


def test_importing_the_package_imports_no_heavy_library() -> None:
    code = (
        "import sys, dreamcache.segment as s, dreamcache.model.preprocess, dreamcache.core.images;"
        "[s.create_segmenter(n) for n in ('none', 'alpha', 'file')];"
        "print([m for m in ('torch', 'cv2', 'transformers') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
