"""The gate with truth checks: what is kept, blocked with which reason, and recorded. Pictures are known ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dreamcache.core import ids
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.records import Blocked, Failed, Request
from dreamcache.evaluation.truth.check import Truth, TruthChecker
from dreamcache.inference.gate import Gate
from dreamcache.inference.outcome import Generated, GenerationOutcome
from dreamcache.inference.truth_rules import broken_rules
from tests.evaluation.test_truth import CUT, SIDE, pack, request_of

BLANK = np.full((SIDE, SIDE, 3), 127, np.uint8)
GREEN = (40, 160, 60)


class Pictures:
    """A generator whose tries are given."""

    batch_size = 1
    note = None

    def __init__(self, *tries: np.ndarray) -> None:
        self.tries = tries

    def generate(self, requests: Sequence[Request]) -> list[GenerationOutcome]:
        numbers = [int(request.item_id.rpartition("/")[2]) for request in requests]
        return [
            Generated(item_id=request.item_id, rgb=self.tries[number], seconds=1.0)
            for request, number in zip(requests, numbers, strict=True)
        ]

    def take_note(self) -> str | None:
        return None


def outcome_of(folder: Path, settings: QualitySettings, *tries: np.ndarray) -> GenerationOutcome:
    settings = replace(settings, tries=len(tries), metrics=CUT)
    [outcome] = Gate(Pictures(*tries), None, settings, TruthChecker(settings)).generate(
        [request_of(folder, pack())]
    )
    return outcome


STRICT = QualitySettings(
    min_contrast=2, min_completeness=0.95, max_count_difference=0, max_colour_difference=4, metrics=CUT
)


def test_the_first_true_image_is_kept_with_its_scores(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, STRICT, BLANK, pack(GREEN), pack(left=40), pack())
    assert isinstance(outcome, Generated) and outcome.quality is not None
    assert outcome.quality.tries == 3 and outcome.quality.seed == ids.seed_of_try(0, 2)
    assert outcome.quality.completeness is not None and outcome.quality.completeness > 0.95
    assert outcome.quality.colour_difference is not None and outcome.quality.colour_difference < 1
    assert (outcome.quality.count_difference, outcome.quality.label_state) == (0, None)
    assert outcome.quality.image_score is None and outcome.seconds == 3.0


@pytest.mark.parametrize(
    ("picture", "code", "text"),
    [
        (BLANK, "blank_image", "contrast at least 2"),
        (pack(GREEN), "wrong_colour", r"wrong_colour: \d+\.\d"),
        (pack(bottom=66), "incomplete_object", "completeness at least 0.95"),
        (pack(left=10, extra=True), "wrong_count", r"wrong_count: \+1"),
    ],
)
def test_each_rule_has_its_own_reason(tmp_path: Path, picture: np.ndarray, code: str, text: str) -> None:
    outcome = outcome_of(tmp_path, STRICT, picture, picture)
    assert isinstance(outcome, Blocked) and outcome.code == code
    assert outcome.quality is not None and outcome.quality.tries == 2
    import re

    assert re.search(text, outcome.message) and "raise quality.tries" in outcome.message


def test_of_rejected_tries_the_one_with_fewest_faults_is_reported(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, STRICT, BLANK, pack(GREEN), BLANK)
    assert isinstance(outcome, Blocked) and outcome.code == "wrong_colour"


def test_scores_without_threshold_reject_nothing(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, QualitySettings(measure=("colour", "contrast")), pack(GREEN), pack())
    assert isinstance(outcome, Generated) and outcome.quality is not None and outcome.quality.tries == 1
    assert outcome.quality.colour_difference is not None and outcome.quality.colour_difference > 20


def test_the_best_of_all_has_the_nearest_colour_where_it_has_a_threshold(tmp_path: Path) -> None:
    best = QualitySettings(max_colour_difference=100, keep="best", metrics=CUT)
    outcome = outcome_of(tmp_path, best, pack(GREEN), pack(), pack(GREEN))
    assert isinstance(outcome, Generated) and outcome.quality is not None
    assert outcome.quality.seed == ids.seed_of_try(0, 1)
    measured = QualitySettings(measure=("colour",), keep="best", metrics=CUT)
    outcome = outcome_of(tmp_path, measured, pack(GREEN), pack())
    assert isinstance(outcome, Generated) and outcome.quality is not None
    assert outcome.quality.seed == ids.seed_of_try(0, 0), "what is in no id decides nothing"


def test_a_photo_without_subject_fails_the_item(tmp_path: Path) -> None:
    settings = replace(STRICT, tries=1)
    request = request_of(tmp_path, np.full((SIDE, SIDE, 3), 255, np.uint8))
    [outcome] = Gate(Pictures(pack()), None, settings, TruthChecker(settings)).generate([request])
    assert isinstance(outcome, Failed) and outcome.code == "no_reference_segment"


def test_a_label_that_cannot_be_read_is_a_reason_of_its_own() -> None:
    settings = QualitySettings(min_label_words=0.9, ocr="models", metrics=CUT)
    codes = [
        [one.code for one in broken_rules(Truth(label_state=state, label_words=share), settings)]
        for state, share in (
            ("read", 1.0),
            ("read", 0.5),
            ("unreadable", None),
            ("no_words", None),
            (None, None),
        )
    ]
    assert codes == [[], ["wrong_label"], ["unreadable_label"], [], ["unreadable_label"]]
    kept = replace(settings, on_unreadable="keep")
    assert broken_rules(Truth(label_state="unreadable"), kept) == ()
