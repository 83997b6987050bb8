"""What follows from photos is read once, a lasting fault too; a temporary one is tried again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dreamcache.core.errors import ImageError, StorageError
from dreamcache.storage.photo_results import PhotoResults


def failing(error: Exception, calls: list[str]) -> Callable[[], int]:
    def read() -> int:
        calls.append("read")
        raise error

    return read


def test_a_value_is_read_once() -> None:
    results, calls = PhotoResults[str, int](2), list[str]()

    def read() -> int:
        calls.append("read")
        return 7

    assert [results.get_or("a", "here", read) for _ in range(3)] == [7, 7, 7]
    assert calls == ["read"]


@pytest.mark.parametrize(
    ("error", "reads"),
    [
        (ImageError("here: no image", code="damaged_image"), 1),
        (ImageError("here: no answer", code="too_slow"), 3),
        (StorageError("no bucket", code="no_bucket"), 3),
        (RuntimeError("no"), 3),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_only_a_lasting_fault_is_held(error: Exception, reads: int) -> None:
    results, calls = PhotoResults[str, int](2), list[str]()
    for _ in range(3):
        with pytest.raises(type(error)) as caught:
            results.get_or("a", "here", failing(error, calls))
        assert (str(caught.value), getattr(caught.value, "code", "")) == (
            str(error),
            getattr(error, "code", ""),
        )
    assert len(calls) == reads


def test_a_fault_names_the_photo_of_its_own_subject_and_few_are_held() -> None:
    results, calls = PhotoResults[str, int](1), list[str]()
    for where in ("subject 'a'", "subject 'b'", "subject 'a'"):
        with pytest.raises(ImageError, match=where):
            results.get_or("same", where, failing(ImageError(where, code="damaged_image"), calls))
    assert len(calls) == 3, "one is held"
    assert results.get_or("other", "here", lambda: 1) == 1
