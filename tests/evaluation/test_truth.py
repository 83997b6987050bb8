"""Truth checks: what each score says of known pictures, masks and words, and which settings are in ids."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.config.evaluate import MetricSettings
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.errors import ModelError
from dreamcache.core.photo_sets import PlannedPhoto, set_key, written
from dreamcache.core.records import Reference, Request
from dreamcache.evaluation.truth.check import Truth, TruthChecker, nearest
from dreamcache.evaluation.truth.ciede2000 import ciede2000, lab_of
from dreamcache.evaluation.truth.identity import identity_of
from dreamcache.evaluation.truth.ocr import Line
from dreamcache.evaluation.truth.outline import completeness, count_of
from dreamcache.evaluation.truth.words import Label, compare, words_of
from dreamcache.storage.models.encoders import gate_identity

SIDE = 96
RED, BLUE = (200, 40, 40), (30, 60, 160)
CUT = MetricSettings(segmenter="auto")


def pack(
    main: tuple[int, int, int] = RED, *, left: int = 30, bottom: int = 84, extra: bool = False
) -> np.ndarray:
    """A pack of two colours on white; the lower part is blue. extra: another one beside it."""
    rgb = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for x in (left, *((left + 36,) if extra else ())):
        rgb[12:bottom, x : x + 26] = main
        rgb[60:bottom, x : x + 26] = BLUE
    return rgb


def request_of(folder: Path, rgb: np.ndarray) -> Request:
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG")
    (folder / "photo.png").write_bytes(out.getvalue())
    return Request(
        item_id="0" * 64, subject_id="s", class_name="pack", cache_key="k", prompt="p", sample=0, seed=0, mask=None,
        image=str(folder / "photo.png"), reference_id=Reference.id_of(out.getvalue(), None),
    )  # fmt: skip


def checker(*checks: str) -> TruthChecker:
    return TruthChecker(QualitySettings(measure=checks, metrics=CUT))  # type: ignore[arg-type]


def test_scores_of_changed_packs(tmp_path: Path) -> None:
    request, check = request_of(tmp_path, pack()), checker("colour", "outline", "contrast")
    same = check.check(request, pack(left=40))
    assert same.code is None and same.colour_difference == pytest.approx(0, abs=0.5)
    assert same.completeness is not None and same.completeness > 0.97 and same.count_difference == 0
    other = (200, 100, 60)
    shift = float(ciede2000(lab_of(np.array([RED], np.uint8)), lab_of(np.array([other], np.uint8)))[0])
    shifted = check.check(request, pack(other))
    assert shifted.colour_difference == pytest.approx(shift, abs=0.5) and shift > 5
    assert shifted.completeness == pytest.approx(1, abs=0.02)
    short = check.check(request, pack(bottom=70))
    assert short.completeness is not None and short.completeness < 0.9
    assert check.check(request, pack(left=10, extra=True)).count_difference == 1
    blank = check.check(request, np.full((SIDE, SIDE, 3), (90, 60, 30), np.uint8))
    assert (blank.contrast, blank.completeness, blank.count_difference) == (0.0, 0.0, -1)
    assert blank.colour_difference is None and blank.code is None


def test_a_lost_colour_is_a_difference(tmp_path: Path) -> None:
    request, check = request_of(tmp_path, pack()), checker("colour")
    whole = pack()
    whole[(whole == BLUE).all(axis=2)] = RED
    lost = check.check(request, whole).colour_difference
    assert lost is not None and lost > 20
    assert check.check(request, whole).completeness is None, "only what is asked for is measured"


def test_a_photo_that_changed_or_shows_nothing_is_the_items_own_error(tmp_path: Path) -> None:
    request = request_of(tmp_path, pack())
    changed = checker("colour").check(replace(request, reference_id="0" * 64), pack())
    assert changed.code == "changed_photo"
    empty = request_of(tmp_path, np.full((SIDE, SIDE, 3), 255, np.uint8))
    truth = checker("outline").check(empty, pack())
    assert truth.code == "no_reference_segment" and "give a mask" in (truth.message or "")


def test_a_bad_photo_is_read_once_for_all_prompts_of_its_subject(tmp_path: Path) -> None:
    request = request_of(tmp_path, pack())
    good, check = (tmp_path / "photo.png").read_bytes(), checker("colour")
    (tmp_path / "photo.png").write_bytes(b"no image")
    assert check.check(request, pack()).code == "changed_photo"
    (tmp_path / "photo.png").write_bytes(good)
    again = check.check(replace(request, item_id="1" * 64, prompt="another"), pack())
    assert again.code == "changed_photo", "it was not read again"
    assert checker("colour").check(request, pack()).code is None
    assert check.check(replace(request, subject_id="another"), pack()).code is None


FRONT_AND_BACK = {
    "wrong colour on the right outline": (
        Truth(colour_difference=0.2, completeness=0.4), Truth(colour_difference=30.0, completeness=0.98), 1,
    ),
    "the back, which has no words": (
        Truth(colour_difference=9.0, completeness=0.4, label_state="unreadable"),
        Truth(colour_difference=0.5, completeness=0.98, label_state="no_words"), 1,
    ),
    "the back, and its small print is no word of the front": (
        Truth(colour_difference=0.2, completeness=0.4, label_state="read", label_words=0.0),
        Truth(colour_difference=5.0, completeness=0.98, label_state="no_words"), 1,
    ),
    "one outline, the front's colour": (
        Truth(colour_difference=0.5, completeness=0.970, label_state="unreadable"),
        Truth(colour_difference=20.0, completeness=0.975, label_state="no_words"), 0,
    ),
    "one outline and one colour, other words": (
        Truth(colour_difference=1.5, completeness=0.970, label_state="read", label_words=0.5),
        Truth(colour_difference=0.5, completeness=0.975, label_state="no_words"), 0,
    ),
    "nothing found": (Truth(completeness=0.0, count_difference=-2), Truth(completeness=0.0, count_difference=-1), 1),
}  # fmt: skip


@pytest.mark.parametrize("case", FRONT_AND_BACK)
def test_of_several_photos_one_gives_all_scores(case: str) -> None:
    *scores, right = FRONT_AND_BACK[case]
    assert nearest(scores, ()) is scores[right]
    assert nearest(scores[::-1], ()) is scores[right]


def test_what_has_no_threshold_chooses_no_photo() -> None:
    scores = [Truth(colour_difference=0.2, completeness=0.4), Truth(colour_difference=30, completeness=0.98)]
    assert nearest(scores, {"max_colour_difference"}) is scores[0]
    assert nearest(scores, {"min_completeness"}) is nearest(scores, {"min_contrast"}) is scores[1]


def test_a_front_with_the_backs_colour_is_no_true_image(tmp_path: Path) -> None:
    keys, photos = ["k1", "k2"], []
    for key, rgb in zip(keys, (pack(), pack((40, 160, 60), bottom=66)), strict=True):
        (tmp_path / key).mkdir()
        one = request_of(tmp_path / key, rgb)
        photos.append(PlannedPhoto(image=one.image, mask=None, reference_id=one.reference_id, cache_key=key))
    both = replace(one, photo_set=written(photos), cache_key=set_key(keys))
    check = checker("colour", "outline")
    for rgb, is_true in (
        (pack(), True),
        (pack((40, 160, 60), bottom=66), True),
        (pack((40, 160, 60)), False),
    ):
        truth = check.check(both, rgb)
        assert truth.code is None and truth.completeness is not None and truth.completeness > 0.95
        assert truth.colour_difference is not None and (truth.colour_difference < 2) == is_true


def test_outlines_are_compared_at_any_position_size_and_small_turn() -> None:
    grid = np.zeros((120, 120), bool)
    one, other = grid.copy(), np.zeros((300, 200), bool)
    one[20:80, 30:60] = True
    other[100:220, 60:120] = True
    assert completeness(one, other) > 0.98
    assert completeness(one, one) > 0.99
    holed = one.copy()
    holed[35:55, 40:52] = False
    assert 0.8 < completeness(one, holed) < 0.9
    assert completeness(one, np.ones((10, 10), bool)) < 0.75
    thin = np.zeros((4000, 3000), bool)
    thin[:, 1500] = True
    assert 0 <= completeness(thin, one) <= 1
    assert (count_of(grid), count_of(one)) == (0, 1)
    two = one.copy()
    two[90:110, 90:110] = True
    two[2, 2] = True
    assert count_of(two) == 2, "a crumb is no object"


def line(text: str, certainty: float = 0.99, height: float = 30, y: float = 0, x: float = 0) -> Line:
    return Line(text=text, certainty=certainty, height=height, center=(x, y))


def test_words_and_their_states() -> None:
    words = words_of([line("DARK ROAST"), line("500ml"), line("~", 0.3), line("of")], 200)
    assert [word.text for word in words] == ["dark", "roast", "5ooml"]
    joined = [line("DARKROAST"), line("5OOML")]
    assert compare(words, joined, 200) == Label(state="read", share=1.0)
    parts = [line("500ml", y=60), line("ROAST", y=1, x=90), line("Dark", y=0)]
    assert compare(words, parts, 200).share == 1.0
    assert compare(words, [line("DARK ROASA"), line("500ml")], 200).share == pytest.approx(2 / 3)
    assert compare(words, [line("DQRK", 0.5)], 200) == Label(state="unreadable")
    assert compare(words, [], 200) == Label(state="unreadable")
    assert compare(words, [line("OPEN DAILY")], 40) == Label(state="unreadable"), "too small to be read"
    assert compare((), parts, 200) == Label(state="no_words")
    small = words_of([line("BRAND"), line("ingredients", height=8)], 200)
    assert compare(small, [line("BRAND")], 200).share == 1.0, "print that is too small is not expected"


def share(photo: list[Line], image: list[Line]) -> float | None:
    return compare(words_of(photo, 200), image, 200).share


def test_a_word_inside_another_one_is_none() -> None:
    assert share([line("ART"), line("TEA", y=60)], [line("START"), line("STEAM", y=60)]) == 0.0
    assert share([line("ART")], [line("ST ART")]) == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([line("DREAM CACHE")], [line("DREAMCACHE")]),
        ([line("DREAM"), line("CACHE", x=90)], [line("DREAMCACHE")]),
        ([line("BEST OF ALL")], [line("BESTOF ALL")]),
        ([line("480 ml, net")], [line("480ml net.")]),
        ([line("DARK ROAST")], [line("DARKR OAST")]),
        ([line("one two three four five six seven")], [line("onetwothreefourfivesixseven")]),
    ],
)
def test_a_lost_or_added_space_loses_no_word(one: list[Line], other: list[Line]) -> None:
    assert share(one, other) == share(other, one) == 1.0


def test_settings_state_what_they_need() -> None:
    for wrong, text in (
        ({}, "min_label_words or measure must be given"),
        ({"min_label_words": 0.5}, "ocr must name the folder"),
        (
            {"measure": ("colour",), "metrics": MetricSettings(segmenter=None)},
            "metrics.segmenter must be given",
        ),
        ({"min_completeness": 1.5}, "min_completeness"),
    ):
        with pytest.raises(ValueError, match=text):
            QualitySettings(**wrong)
    gate = QualitySettings(max_colour_difference=5, min_contrast=2)
    assert gate.checks == {"colour", "contrast"} and gate.used_metrics is None


def test_only_what_decides_the_choice_is_in_ids(tmp_path: Path) -> None:
    similar = QualitySettings(min_image=0.5, image_metric="clip_i", metrics=replace(CUT, clip="mini"))
    assert identity_of(similar) == gate_identity(similar)
    assert identity_of(replace(similar, measure=("colour",))) == identity_of(similar)
    colour = QualitySettings(max_colour_difference=5, metrics=CUT)
    names = {identity_of(replace(colour, max_colour_difference=value)) for value in (4.0, 5.0)}
    names.add(identity_of(replace(colour, metrics=replace(CUT, segmenter="grabcut"))))
    (tmp_path / "u2netp.onnx").write_bytes(b"weights")
    named = replace(CUT, segmenter_models={"u2net": str(tmp_path / "u2netp.onnx")})
    names.add(identity_of(replace(colour, metrics=named)))
    assert len(names) == 4
    label = QualitySettings(min_label_words=1, ocr=str(tmp_path), metrics=CUT)
    with pytest.raises(ModelError, match=r"must hold one readable file \*det\*.onnx.*make models"):
        identity_of(label)
    for name in ("a_det.onnx", "a_rec.onnx"):
        (tmp_path / name).write_bytes(name.encode())
    before = identity_of(label)
    (tmp_path / "a_rec.onnx").write_bytes(b"another")
    assert identity_of(label) != before != identity_of(replace(label, on_unreadable="keep"))
