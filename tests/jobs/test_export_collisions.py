"""Names that Windows or macOS would take for one are one: nothing is written over another image."""

from __future__ import annotations

from typing import Any

import pytest

from dreamcache.core.errors import SpecError
from jobs.export.names import Layout, Names


def row(subject: str) -> dict[str, Any]:
    return {
        "subject_id": subject,
        "item_id": subject.encode().hex() * 8,
        "key": "images/a.png",
        "num_bytes": 1,
    }


@pytest.mark.parametrize(
    ("one", "other"), [("Mug", "mug"), ("caf\u00e9", "cafe\u0301"), ("STRASSE", "straße")]
)
def test_names_that_a_file_system_does_not_keep_apart(one: str, other: str) -> None:
    layout, rows = Layout("{subject_id}.{ext}", ["subject_id", "item_id", "key"]), [row(one), row(other)]
    with pytest.raises(SpecError) as caught:
        Names(rows, layout, numbered=False)
    assert caught.value.code == "name_collision"
    names = [name for name, _ in Names(rows, layout, numbered=True)]
    assert len({name.casefold() for name in names}) == 2
