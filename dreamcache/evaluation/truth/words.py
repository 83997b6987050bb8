"""Words of a reference found on an image, by what was read on both. Knows lines of text; nothing of pixels.

lines of the reference --certain, 3 letters or more--> Words
lines of the image     --whole words, letters of one look folded--> share of the words | no_words | unreadable

A space may be lost or added: adjacent words of one side, joined, may be one word or other ones of the other side. But a
word inside another one is none: START is no ART.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dreamcache.evaluation.truth.ocr import Line

State = Literal["read", "no_words", "unreadable"]
CERTAIN = 0.8
"""Mean probability of a line's letters from which it counts as read."""
LEAST_LETTERS = 3
LEAST_HEIGHT = 12.0
"""Pixels of a line on the image, with the margin of its box: smaller print is not expected to be read."""
ONE_LOOK = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l"})
"""Letters that many fonts show alike."""
MOST_JOINED = 6
"""Adjacent words of a reference that an image may show as one; all of a line may be one, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """text: folded. height: of its line, of the square root of the object's area. joined: it with words beside it."""

    text: str
    height: float
    joined: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What an image says of the reference's words. share: of those that can be expected; None unless state is read."""

    state: State
    share: float | None = None


def folded(text: str) -> str:
    """Letters and digits alone, without case, in one form, those of one look as one."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum() or letter == "|").translate(ONE_LOOK)


def words_of(lines: Sequence[Line], object_size: float) -> tuple[Word, ...]:
    """Each word of a reference once. object_size: square root of the object's area, pixels."""
    certain = [line for line in lines if line.certainty >= CERTAIN]
    joined = _joined(certain)
    heights: dict[str, float] = {}
    for line in certain:
        for text in _tokens([line]):
            if len(text) >= LEAST_LETTERS:
                heights.setdefault(text, line.height / object_size)
    return tuple(
        Word(text=text, height=height, joined=frozenset(joined.get(text, ())))
        for text, height in heights.items()
    )


def _tokens(lines: Sequence[Line]) -> list[str]:
    """Folded words with a letter or digit."""
    return [text for line in lines for part in line.text.split() if (text := folded(part))]


def _joined(lines: Sequence[Line]) -> dict[str, set[str]]:
    """{word: what it is together with adjacent words} of a reference."""
    tokens = _tokens(_reading_order(lines))
    runs = [
        tokens[start : start + count]
        for count in range(2, MOST_JOINED + 1)
        for start in range(len(tokens) - count + 1)
    ]
    joined: dict[str, set[str]] = {}
    for run in [*runs, *(_tokens([line]) for line in lines)]:
        for text in run:
            joined.setdefault(text, set()).add("".join(run))
    return joined


def _runs(tokens: Sequence[str], longest: int) -> set[str]:
    """Each word, and adjacent ones joined, of at most `longest` letters."""
    runs = set()
    for start in range(len(tokens)):
        text = ""
        for token in tokens[start:]:
            text += token
            if len(text) > longest:
                break
            runs.add(text)
    return runs


def compare(words: Sequence[Word], lines: Sequence[Line], object_size: float) -> Label:
    """words: of the reference. lines: read on the image. object_size: of the image's object.

    Unreadable: all words would be smaller than LEAST_HEIGHT, or nothing can be read on the image with certainty,
    be its print blurred, no letters at all, or gone.
    """
    if not words:
        return Label(state="no_words")
    certain = [line for line in lines if line.certainty >= CERTAIN]
    wanted = [{word.text, *word.joined} for word in words]
    seen = _runs(_tokens(_reading_order(certain)), max(len(text) for texts in wanted for text in texts))
    matches = [not texts.isdisjoint(seen) for texts in wanted]
    expected = [
        match or word.height * object_size >= LEAST_HEIGHT for word, match in zip(words, matches, strict=True)
    ]
    readable = any(len(folded(line.text)) >= LEAST_LETTERS for line in certain)
    if not any(expected) or not (readable or any(matches)):
        return Label(state="unreadable")
    return Label(state="read", share=sum(matches) / sum(expected))


def _reading_order(lines: Sequence[Line]) -> list[Line]:
    """By rows from above, each from the left; lines of a row overlap by half their height."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: one.center[1]):
        last = rows[-1][-1] if rows else None
        if last is not None and line.center[1] - last.center[1] < min(line.height, last.height) / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda one: one.center[0])]
