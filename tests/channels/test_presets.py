"""Presets that cannot be meant are refused when they are loaded, before an image is rendered."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.channels.preset import ChannelRule, Column, FeedSpec, Frame


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ChannelRule, {"measure": "longest_side", "one_of": ("a",)}, "one_of"),
        (ChannelRule, {"measure": "format", "min": 1.0}, "one_of"),
        (ChannelRule, {"measure": "fill", "min": 9.0, "max": 1.0}, "min"),
        (Column, {"name": "a", "value": ("{sku}",), "pattern": "("}, "pattern"),
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
