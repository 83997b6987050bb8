"""The tiny model of the end-to-end tests."""

from __future__ import annotations

from tests.end_to_end.conftest import tiny_model

__all__ = ["tiny_model"]
