"""Packages that bring an OpenCV of their own write into the same folder as ours; whichever came last would run."""

from __future__ import annotations

from importlib.metadata import packages_distributions


def test_exactly_one_opencv_is_installed() -> None:
    assert packages_distributions()["cv2"] == ["opencv-python-headless"]
