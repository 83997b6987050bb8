"""One way to write bytes, durations, rates and tables."""

from __future__ import annotations

import pytest

from jobs.formatting import format_bytes, format_count, format_duration, format_rate, table_lines


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "of unknown size"),
        (0, "0 B"),
        (812, "812 B"),
        (61_440, "61.4 kB"),
        (999_960, "1.0 MB"),
        (5e12, "5.0 TB"),
    ],
)
def test_bytes(count: float | None, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (float("inf"), "-"),
        (7.4, "0:07"),
        (125, "2:05"),
        (3725, "1:02:05"),
        (3 * 86400 + 3725, "3 d 1:02:05"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


def test_rates_and_counts() -> None:
    assert [format_rate(rate, "images/s") for rate in (0, 0.0423, 38.21)] == [
        "0.0 images/s",
        "0.0423 images/s",
        "38.2 images/s",
    ]
    assert [format_count(1, "item"), format_count(1200, "item"), format_count(2, "entry", "entries")] == [
        "1 item",
        "1,200 items",
        "2 entries",
    ]


def test_long_cells_are_cut_for_a_terminal_only() -> None:
    uri = "s3://bucket/" + "a" * 80
    assert uri in table_lines(["uri"], [[uri]], cut=False)[1]
    assert table_lines(["uri"], [[uri]], cut=True)[1].endswith("...")
