"""Compaction: fewer parts with the same records, also while others read, append, compact or die."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dreamcache.core.records import Done, Failed
from dreamcache.storage import compaction
from dreamcache.storage.compaction import compact, level_of
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.open_store import BoundStore, store_for
from dreamcache.storage.store import ObjectInfo


def _done(item_id: str) -> Done:
    return Done(
        item_id=item_id,
        key=f"images/{item_id[:2]}/{item_id}.png",
        width=1,
        height=1,
        num_bytes=1,
        pixel_sha256="f",
    )


def _filled(place: str, num_parts: int) -> Ledger:
    ledger = Ledger(place)
    for n in range(num_parts):
        ledger.append([_done(f"{n:03d}"), Failed(item_id="x", code="c", message="m", attempts=n + 1)])
    return ledger


def test_the_same_records_in_fewer_parts(place: str) -> None:
    ledger = _filled(place, 17)
    before = ledger.outcomes()
    assert compact(ledger, fan=4) == 12 + 3
    assert ledger.outcomes() == before
    assert sorted(level_of(info.uri) for info in ledger.parts()) == [0, 2]
    assert sum(table.num_rows for table in ledger.scan()) == 2 * 17, "earlier attempts stay"
    assert compact(ledger, fan=4) == 0


def test_a_crash_before_the_sources_are_deleted(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = _filled(place, 8)
    before = ledger.outcomes()
    with monkeypatch.context() as patch:
        patch.setattr(ledger.log, "store", _NoDelete(ledger.uri, store_for(place)))
        with pytest.raises(RuntimeError, match="killed"):
            compact(ledger, fan=4)
    assert len(ledger.parts()) == 9
    assert ledger.outcomes() == before
    compact(ledger, fan=4)
    assert ledger.outcomes() == before
    assert len(ledger.parts()) < 9


class _NoDelete(BoundStore):
    """The store of a process that is killed when it would delete."""

    def delete(self, key: str) -> None:
        raise RuntimeError("killed")


def test_a_part_that_went_since_the_listing_is_found_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = _filled(str(tmp_path), 40)  # more than are read ahead
    before = ledger.outcomes()
    tables: list[pa.Table] = []
    for table in ledger.scan():
        if not tables:
            compact(Ledger(str(tmp_path)), fan=4)
        tables.append(table)
    ids = {item for table in tables for item in table["item_id"].to_pylist()}
    assert ids == set(before)


def test_a_listing_by_pages_misses_no_record(tmp_path: Path) -> None:
    """A store that shows names in order, one at a time, while parts are merged: what S3 does."""
    ledger = _filled(str(tmp_path), 16)
    folder = Path(ledger.uri)
    seen: set[str] = set()
    name = ""
    step = 0
    while ahead := sorted(path.name for path in folder.iterdir() if path.name > name):
        name = ahead[0]
        table = ledger.read_part(str(folder / name))
        assert table is not None
        seen |= set(table["item_id"].to_pylist())
        step += 1
        if step in (1, 3, 5):
            compact(Ledger(str(tmp_path)), fan=2)
    assert seen == set(ledger.outcomes())


def test_compactors_and_writers_at_once(place: str) -> None:
    ledger = _filled(place, 16)
    errors: list[BaseException] = []

    def work(action: Any) -> None:
        try:
            for n in range(4):
                action(n)
        except BaseException as error:  # noqa: BLE001 - reported by the test
            errors.append(error)

    actions = [
        lambda n: compact(Ledger(place), fan=2),
        lambda n: compact(Ledger(place), fan=3),
        lambda n: Ledger(place).append([_done(f"new-{n}")]),
        lambda n: [
            len(Ledger(place).outcomes()) >= 17 or errors.append(AssertionError("a record was missed"))
        ],
    ]
    threads = [threading.Thread(target=work, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert set(ledger.outcomes()) == {"x", *(f"{n:03d}" for n in range(16)), *(f"new-{n}" for n in range(4))}


def test_large_parts_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = _filled(str(tmp_path), 4)
    monkeypatch.setattr(compaction, "MAX_BYTES", 2)
    parts: Iterator[ObjectInfo] = iter(ledger.parts())
    assert compact(ledger, fan=2) == 0
    assert list(parts) == ledger.parts()
