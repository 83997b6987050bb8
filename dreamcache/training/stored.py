"""One training sample as a source holds it. Knows names and bytes; knows nothing of files or pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

CAPTION_NAMES = ("caption", "text", "prompt")
BESIDE = {"mask": "masks", "reference": "references", "reference_mask": "reference_masks"}
"""Optional pictures of a sample: field, column and member's name, and the folder's name in the folder form"""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSample:
    """One training sample as stored. `where` names it in messages.

    mask: of the subject in `image`. reference: another picture of the subject, with `reference_mask` or on white.
    """

    where: str
    image: bytes
    mask: bytes | None
    caption: str
    reference: bytes | None = None
    reference_mask: bytes | None = None


def caption_of(row: Mapping[str, object]) -> str:
    """The first of a row's columns for captions that has a value; "" where it has no such column.

    Raises ValueError for a value that is no text or none in UTF-8, which a JSON escape can be, and where no column has
    one: "" in it asks for no caption.
    """
    values = [row[name] for name in CAPTION_NAMES if name in row]
    # What pandas writes for a missing value is NaN.
    present = [value for value in values if value is not None and value == value]
    if values and not present:
        raise ValueError('its caption must be a text, got null; write one, or "" for none')
    if present and not isinstance(present[0], str):
        raise ValueError(f"its caption must be a text, got {type(present[0]).__name__}; write one text")
    caption = str(present[0]).strip() if present else ""
    try:
        caption.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"its caption must be a text in UTF-8, got {caption[error.start]!a} at character {error.start + 1}; "
            "write whole characters"
        ) from error
    return caption


class Lazy(Sequence[StoredSample]):
    """Samples that are read on access."""

    def __init__(self, count: int, read: Callable[[int], StoredSample]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> StoredSample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StoredSample]: ...
    def __getitem__(self, index: int | slice) -> StoredSample | Sequence[StoredSample]:
        if isinstance(index, slice):
            return [self._read(number) for number in range(self._count)[index]]
        return self._read(index)
