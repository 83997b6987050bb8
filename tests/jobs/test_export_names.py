"""Names of exported files: whatever a SKU holds, its file stays where the layout puts it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamcache.core.errors import SpecError
from jobs.export.names import DEFAULT_LAYOUT, Layout, Names

COLUMNS = ("item_id", "subject_id", "sample", "key", "prompt")


def row_of(subject: str, sample: int = 0, item: str = "ab" * 32) -> dict[str, Any]:
    key = f"images/ab/{item}.webp"
    return {
        "item_id": item,
        "subject_id": subject,
        "sample": sample,
        "key": key,
        "prompt": None,
        "num_bytes": 1,
    }


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("mug-1", "mug-1.webp"),
        ("a/b\\c", "a%2Fb%5Cc.webp"),
        ("..", "%2E%2E.webp"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd.webp"),
        (".hidden", "%2Ehidden.webp"),
        ("100%", "100%25.webp"),
        ("end.", "end%2E.webp"),
        ("con", "_con.webp"),
        ("COM1.x", "_COM1.x.webp"),
        ("", "_.webp"),
        ("कप", "कप.webp"),
        ("cafe\u0301", "café.webp"),
        ("a\u202eb", "a%E2%80%AEb.webp"),
        ("a\nb", "a%0Ab.webp"),
    ],
)
def test_a_value_as_a_name(subject: str, name: str) -> None:
    assert Layout("{subject_id}.{ext}", COLUMNS).name_of(row_of(subject)) == name


def test_formats_and_folders() -> None:
    layout = Layout("shop/{subject_id}/{sample:03d}-{item_id:.8}.{ext}", COLUMNS)
    assert layout.name_of(row_of("a.b", 7)) == "shop/a.b/007-abababab.webp"
    assert Layout("{prompt}-{sample}.{ext}", COLUMNS).name_of(row_of("a")) == "-0.webp"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{sku}.{ext}", "unknown column {sku}"),
        ("{subjectid}.{ext}", "did you mean 'subject_id'"),
        ("{subject_id.__class__}.{ext}", "unknown column"),
        ("{subject_id!r}.{ext}", "must be a column, with a plain format"),
        ("{sample:{item_id}}.{ext}", "must be a column, with a plain format"),
        ("{subject_id}", "must end with .{ext}"),
        ("{ext}.{subject_id}", "{ext} must be the end"),
        ("/{subject_id}.{ext}", "must be a relative path"),
        ("../{subject_id}.{ext}", "must be a relative path"),
        ("a//{subject_id}.{ext}", "must be a relative path"),
        ("c:{subject_id}.{ext}", "must be a relative path"),
        ("{item_id:99999999999}.{ext}", "at most 200 characters wide"),
        ("{item_id:٩٩٩٩}.{ext}", "at most 200 characters wide"),
        ("{sample:0201d}.{ext}", "at most 200 characters wide"),
        ("{subject_id.{ext}", "unexpected '{' in field name"),
    ],
)
def test_a_layout_that_names_no_file(pattern: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        Layout(pattern, COLUMNS)


def test_a_format_that_does_not_fit() -> None:
    with pytest.raises(SpecError, match="does not fit 'a'"):
        Layout("{subject_id:d}.{ext}", COLUMNS).name_of(row_of("a"))
    row = {**row_of("a"), "attr_tags": ["x"]}
    with pytest.raises(SpecError, match=r"does not fit \['x'\]"):
        Layout("{attr_tags:10}.{ext}", [*COLUMNS, "attr_tags"]).name_of(row)


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_value_leaves_its_folder_or_is_too_long(one: str, two: str) -> None:
    layout = Layout(DEFAULT_LAYOUT, COLUMNS)
    names = [layout.name_of(row_of(text)) for text in (one, two)]
    for name in names:
        folder, _, file = name.partition("/")
        assert file == f"0-{'ab' * 32}.webp"
        assert folder not in ("", ".", "..") and not folder.startswith(".")
        assert len(folder.encode()) <= 255
        assert not set(folder) & set('/\\:*?"<>|\0\n')


def test_long_names_stay_apart() -> None:
    layout = Layout("{subject_id}.{ext}", COLUMNS)
    a, b = (layout.name_of(row_of("杯" * 190 + end)) for end in "ab")
    assert a != b
    assert max(len(a.encode()), len(b.encode())) <= 255


def test_numbering_hangs_on_the_items_alone() -> None:
    rows = [row_of("x", item=keys * 32) for keys in ("aa", "bb", "cc")]
    layout = Layout("{subject_id}.{ext}", COLUMNS)
    there = {name for name, _ in Names(rows, layout, numbered=True)}
    assert there == {f"x~{row['item_id'][:12]}.webp" for row in rows}
    assert {name for name, _ in Names(rows[::-1], layout, numbered=True)} == there
