"""The style's limits: what is over them today is listed in ceilings.json, where numbers may only fall."""

from __future__ import annotations

import pytest

from tests.house import sources
from tests.house.ceilings import MEASURES, above, lowered, read_ceilings

REMEDY = {
    "long_files": f"a file has at most {sources.MOST_LINES} lines: split it by what it knows",
    "long_functions": f"a function has at most {sources.MOST_FUNCTION_LINES} lines: name its steps",
    "banned_words": "use the field's terms (CONTRIBUTING.md)",
    "dead_references": "correct the path or name, or remove it",
}


@pytest.mark.parametrize("kind", MEASURES)
def test_nothing_is_over_its_ceiling(kind: str) -> None:
    over = above(MEASURES[kind](), read_ceilings()[kind])
    assert not over, f"{REMEDY[kind]}; a ceiling is never raised"


def test_ceilings_only_fall() -> None:
    assert lowered({"a": 3, "b": 9, "new": 1}, {"a": 5, "b": 7, "gone": 2}) == {"a": 3, "b": 7}
    assert above({"a": 3, "b": 9, "new": 1}, {"a": 5, "b": 7, "gone": 2}) == {
        "b": "9, at most 7",
        "new": "1, at most 0",
    }


def test_a_dead_reference_is_seen() -> None:
    assert sources.FILE.findall("see `nowhere/none.py` and docs/no-such.md, not a/*.py") == [
        "nowhere/none.py",
        "docs/no-such.md",
    ]
    assert sources.SEE.findall("See `Store.list`") == ["Store.list"]
    assert sources.DOTTED.findall("`records.Request`, not ``x.y`` or `plain`") == ["records.Request"]
    assert not sources._is_file("nowhere/none.py") and sources._is_file("core/ids.py")
    assert not sources._is_known("records.Nothing") and sources._is_known("records.Request")
