"""When failing photos are the storage's fault: how many in a row, for which reasons, and which one is named."""

from __future__ import annotations

import time

import pytest

from dreamcache.core.errors import ImageError, StorageError
from dreamcache.storage.photo_faults import LEAST, LIMIT, LONGEST_S, STORAGE_WIDE, PhotoFaults


def fault(code: str = "storage_unreachable", name: str = "x") -> ImageError:
    return ImageError(f"subject '{name}': no answer", code=code)


def observe(faults: PhotoFaults, error: ImageError | None, *, ago: float = 0, number: int = 0) -> None:
    faults.observe(error, started=time.monotonic() - ago, number=number)


@pytest.mark.parametrize("code", STORAGE_WIDE)
def test_so_many_in_a_row_end_the_run_and_the_first_is_named(code: str) -> None:
    faults = PhotoFaults()
    for number in range(2, LIMIT + 1):
        observe(faults, fault(code, f"s{number}"), number=number)
    with pytest.raises(
        StorageError, match=rf"^{LIMIT} photos in a row .* \({code}\), beginning with product 2 "
    ) as caught:
        observe(faults, fault(code), number=LIMIT + 1)
    assert "subject 's2'" in str(caught.value)
    assert caught.value.code == code
    with pytest.raises(StorageError, match="product 2 "):
        faults.check()
    with pytest.raises(StorageError, match="product 2 "):
        observe(faults, None)


@pytest.mark.parametrize("between", [None, fault("access_denied"), fault("io_error"), fault("outside_roots")])
def test_any_other_end_begins_the_count_anew(between: ImageError | None) -> None:
    faults = PhotoFaults()
    for _ in range(5):
        for _ in range(LIMIT - 1):
            observe(faults, fault())
        observe(faults, between)
    faults.check()


def test_photos_own_faults_never_end_a_run() -> None:
    faults = PhotoFaults()
    for code in (
        "missing_image",
        "access_denied",
        "no_such_bucket",
        "outside_roots",
        "archived_object",
        "bad_uri",
    ):
        for _ in range(3 * LIMIT):
            observe(faults, fault(code), ago=2 * LONGEST_S)
    faults.check()


def test_a_few_that_take_long_are_enough() -> None:
    faults = PhotoFaults()
    for _ in range(LEAST - 1):
        observe(faults, fault(), ago=LONGEST_S)
    with pytest.raises(StorageError, match=f"^{LEAST} photos in a row"):
        observe(faults, fault(), ago=1)


def test_the_first_of_the_catalog_is_named_whatever_ended_first() -> None:
    faults = PhotoFaults(limit=4)
    for number in (7, 5, 9):
        observe(faults, fault(name=f"s{number}"), number=number)
    with pytest.raises(StorageError, match="product 5 of the catalog: subject 's5'"):
        observe(faults, fault(name="s8"), number=8)
