"""The page of bad inputs is the corpus as it is."""

from __future__ import annotations

from pathlib import Path

from tests.corpus.table import page


def test_the_page_is_current() -> None:
    current = (Path(__file__).parents[2] / "docs" / "bad-input.md").read_text()
    assert current == page(), "python -m tests.corpus.table > docs/bad-input.md"
