"""Presets that cannot be meant are refused when they are loaded, before an image is rendered."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.channels import patterns
from jobs.channels.preset import ChannelRule, Column, FeedSpec, Frame


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ChannelRule, {"measure": "longest_side", "one_of": ("a",)}, "one_of"),
        (ChannelRule, {"measure": "format", "min": 1.0}, "one_of"),
        (ChannelRule, {"measure": "fill", "min": 9.0, "max": 1.0}, "min"),
        (Column, {"name": "a", "value": ("{sku}",), "pattern": "("}, "pattern"),
        (Column, {"name": "a", "value": ("{sku}",), "pattern": "a" * 501}, "at most 500 letters"),
        (
            Column,
            {"name": "a", "value": ("{sku}",), "pattern": "((a{100}){100}){100}"},
            "multiply to at most",
        ),
        (
            Column,
            {"name": "a", "value": ("{sku}",), "pattern": "a{" + "9" * 5000 + "}"},
            "at most 500 letters",
        ),
        (Frame, {"side": 1_000_000_000}, "side"),
        (Frame, {"fill": 1e-5}, "fill"),
        (
            FeedSpec,
            {"file": "report.csv", "format": "csv", "row_per": "image", "columns": (), "source": "a"},
            "file",
        ),
    ],
)
def test_rules_that_cannot_be_meant(kind: type, values: dict[str, Any], message: str) -> None:
    more = {"name": "a", "source": "a"} if kind is ChannelRule else {}
    with pytest.raises(ValueError, match=message):
        kind(**more, **values)


def rss(*names: str) -> FeedSpec:
    columns = tuple(Column(name=name, value=("{sku}",)) for name in names)
    return FeedSpec(file="feed.xml", format="rss", row_per="image", columns=columns, source="a")


@pytest.mark.parametrize(
    "name", ["item id", "1st", "a:id", "g:g:id", "a><b", "", "g:", "é", "a" * 101, "id\n", "g:id/"]
)
def test_a_tag_is_an_xml_name_of_the_one_namespace(name: str) -> None:
    with pytest.raises(ValueError, match="columns must be for rss names of XML elements"):
        rss(name)


def test_a_tag_may_state_its_namespace() -> None:
    feed = rss("g:id", "image_link", "custom_label_0")
    assert [feed.name_of(column) for column in feed.columns] == ["id", "image_link", "custom_label_0"]
    with pytest.raises(ValueError, match="different names"):
        rss("g:id", "id")


def test_a_pattern_that_would_never_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "MATCH_S", 0.05)
    assert patterns.fits("[a-z0-9]+(-[a-z0-9]+)*", "mug-1" * 50) and not patterns.fits("[a-z]+", "A")
    for pattern in ("(a|a)*b", "a*a*a*a*a*a*b", "(a|aa)*b"):
        with pytest.raises(TimeoutError):
            patterns.fits(pattern, "a" * 3000 + "!b")
