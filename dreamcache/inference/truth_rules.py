"""Which thresholds of the truth checks an image breaks, each with a code and a text. Knows scores and settings only."""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core.config.quality import QualitySettings
from dreamcache.evaluation.truth.check import Truth


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """A rule that an image breaks. code: of the blocked item. rule, got: parts of a message."""

    code: str
    rule: str
    got: str


def broken_rules(truth: Truth, settings: QualitySettings) -> tuple[Broken, ...]:
    """In the order in which one explains the next: of a blank image, everything is wrong."""
    rules = (
        _blank(truth, settings), _count(truth, settings), _incomplete(truth, settings), _colour(truth, settings),
        _label(truth, settings),
    )  # fmt: skip
    return tuple(rule for rule in rules if rule is not None)


def nearness(truth: Truth, settings: QualitySettings) -> tuple[float, float]:
    """By which images that pass alike are ranked: colour, then outline. Scores without a threshold count for nothing,
    since they are in no item id."""
    names = settings.truth_thresholds
    colour, outline = truth.colour_difference, truth.completeness
    return (
        -colour if colour is not None and "max_colour_difference" in names else 0.0,
        outline if outline is not None and "min_completeness" in names else 0.0,
    )


def _blank(truth: Truth, settings: QualitySettings) -> Broken | None:
    least = settings.min_contrast
    if least is None or (truth.contrast is not None and truth.contrast >= least):
        return None
    return Broken(code="blank_image", rule=f"contrast at least {least:g}", got=_text(truth.contrast, ".1f"))


def _count(truth: Truth, settings: QualitySettings) -> Broken | None:
    most, value = settings.max_count_difference, truth.count_difference
    if most is None or (value is not None and abs(value) <= most):
        return None
    got = _text(value, "+d")
    return Broken(code="wrong_count", rule=f"at most {most} objects more or fewer than on the photo", got=got)


def _incomplete(truth: Truth, settings: QualitySettings) -> Broken | None:
    least, value = settings.min_completeness, truth.completeness
    if least is None or (value is not None and value >= least):
        return None
    return Broken(code="incomplete_object", rule=f"completeness at least {least:g}", got=_text(value, ".3f"))


def _colour(truth: Truth, settings: QualitySettings) -> Broken | None:
    most, value = settings.max_colour_difference, truth.colour_difference
    if most is None or (value is not None and value <= most):
        return None
    got = _text(value, ".1f")
    return Broken(code="wrong_colour", rule=f"a colour difference (CIEDE2000) of at most {most:g}", got=got)


def _label(truth: Truth, settings: QualitySettings) -> Broken | None:
    least, value, state = settings.min_label_words, truth.label_words, truth.label_state
    if least is None or state == "no_words" or (value is not None and value >= least):
        return None
    rule = f"{least:.0%} of the photo's words"
    if state == "read":
        return Broken(code="wrong_label", rule=rule, got=_text(value, ".0%"))
    if settings.on_unreadable == "keep":
        return None
    return Broken(code="unreadable_label", rule=rule, got="print that cannot be read")


def _text(value: float | None, form: str) -> str:
    return format(value, form) if value is not None else "no object"
