"""How a photo is refused: what, rule, got, remedy, in one line. Knows errors only."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from PIL import UnidentifiedImageError

from dreamcache.core.errors import ImageError
from dreamcache.core.images.formats import ends_early, sniff

T = TypeVar("T")


class TooComplexError(ValueError):
    """A file that asks for far more work or memory than its pixels need; the text is its rule and what it has."""


def refuse(where: str, rule: str, remedy: str, code: str) -> NoReturn:
    """Raises the ImageError."""
    raise ImageError(one_line(f"{where}: {rule}; {remedy}"), code=code)


def guard(step: Callable[[], T], data: bytes, where: str) -> T:
    """Runs a decoding step; whatever it raises becomes the ImageError of this file."""
    try:
        return step()
    except (MemoryError, ImageError):
        raise
    except TooComplexError as error:
        refuse(where, str(error), "export it again as a plain PNG or JPEG", "too_complex")
    except Exception as error:  # noqa: BLE001 - OSError, SyntaxError, ValueError, zlib.error, struct.error and more.
        refuse_broken(data, where, error)


def refuse_broken(data: bytes, where: str, error: Exception) -> NoReturn:
    """The error of a file that does not decode, by whether its end is missing."""
    # Pillow's text for an unreadable header holds a memory address, which would differ on every run.
    unreadable = isinstance(error, UnidentifiedImageError)
    text = "unreadable header" if unreadable else one_line(str(error)) or type(error).__name__
    if "truncated" in text.lower() or isinstance(error, EOFError) or ends_early(data, sniff(data)):
        rule, code = "the file must be complete, got one that ends early", "truncated_image"
    else:
        rule, code = "the file must decode, got damaged data", "damaged_image"
    refuse(where, f"{rule} ({text[:200]})", "upload or export it again", code)


def by(size: tuple[int, int]) -> str:
    """ "40x30"."""
    return f"{size[0]}x{size[1]}"


def one_line(text: str) -> str:
    """The text without line breaks and runs of spaces."""
    return " ".join(text.split())
