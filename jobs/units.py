"""Times and sizes as people read them."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """E.g. 2:05 or 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size(num_bytes: int | None) -> str:
    """In gigabytes."""
    return "of unknown size" if num_bytes is None else f"{num_bytes / 1e9:.3f} GB"
