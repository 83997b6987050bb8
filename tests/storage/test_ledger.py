"""The ledger: parts are written once, read whole, and resolve to one record per item."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamcache.core import ids
from dreamcache.core.errors import StorageError
from dreamcache.core.records import Blocked, Done, Failed, Outcome, Quality
from dreamcache.storage.ledger import LEDGER_SCHEMA, Ledger, from_row, resolve, resolve_table, to_row
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.pruned import MARGIN
from dreamcache.storage.sealed_parquet import seal, unseal

START = datetime(2026, 1, 1, tzinfo=UTC)
RANK = {"failed": 0, "blocked": 1, "done": 2}


def _done(item_id: str, attempts: int = 1, seconds: float = 1.5) -> Done:
    return Done(
        item_id=item_id,
        key=f"images/{item_id[:2]}/{item_id}.png",
        width=64,
        height=48,
        num_bytes=3_000_000_000,
        pixel_sha256=ids.of_bytes(item_id.encode()),
        attempts=attempts,
        seconds=seconds,
        device="cpu",
    )


def _failed(item_id: str, attempts: int = 1, code: str = "bad_image", message: str = "m") -> Failed:
    return Failed(item_id=item_id, code=code, message=message, attempts=attempts)


def _blocked(item_id: str, attempts: int = 1) -> Blocked:
    return Blocked(item_id=item_id, code="identity", message="below 0.5", attempts=attempts)


def test_rows_round_trip() -> None:
    gated = Quality(tries=3, seed=2**62, image_score=0.25, text_score=None)
    outcomes: list[Outcome] = [_done("a"), _blocked("b", 2), _failed("c", 3, message="ü, 'x'\nline")]
    outcomes += [replace(_done("d"), quality=gated), replace(_blocked("e"), quality=gated)]
    table = pa.Table.from_pylist([to_row(outcome, START) for outcome in outcomes], schema=LEDGER_SCHEMA)
    assert [from_row(row) for row in table.to_pylist()] == outcomes
    assert table["recorded_at"].to_pylist() == [START] * len(outcomes)
    with pytest.raises(ValueError, match="status must be one of failed, blocked, done, got 'lost'"):
        from_row({**to_row(_done("a")), "status": "lost"})


def test_append_scan_and_resolve(place: str) -> None:
    ledger = pickle.loads(pickle.dumps(Ledger(place)))
    assert ledger.append([]) is None
    assert ledger.outcomes() == {}
    for n in range(40):  # more parts than are read ahead
        assert ledger.append([_done(f"{n}-a"), _failed(f"{n}-b")])
    assert len(ledger.parts()) == 40
    tables = list(ledger.scan())
    assert sum(table.num_rows for table in tables) == 80
    assert all(table.schema.equals(LEDGER_SCHEMA) for table in tables)
    found = ledger.outcomes()
    assert len(found) == 80
    assert list(found) == sorted(found)
    assert found["7-a"] == _done("7-a")
    assert found["7-b"] == _failed("7-b")


def test_a_repeated_append_is_the_same_part(place: str) -> None:
    ledger = Ledger(place)
    first = ledger.append([_done("a"), _failed("b")])
    before = ledger.parts()
    assert Ledger(place).append([_failed("b", message="said otherwise"), _done("a", seconds=9)]) == first
    assert ledger.parts() == before
    assert ledger.append([_done("a"), _done("b")]) != first, "the same attempts, another end"
    assert ledger.append([_done("a"), _failed("b", 2)]) != first
    assert ledger.outcomes() == {"a": _done("a"), "b": _done("b")}


@pytest.mark.parametrize("damage", ["flip", "cut", "foreign", "empty"])
def test_a_damaged_part_is_named(place: str, damage: str) -> None:
    ledger, store = Ledger(place), store_for(place)
    uris = [ledger.append([_done(str(n))]) for n in range(5)]
    bad = str(uris[3])
    data = store.read(bad)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), sink)
    flipped = data[:60] + bytes([data[60] ^ 1]) + data[61:]
    ways = {"flip": flipped, "cut": data[:-20], "foreign": sink.getvalue().to_pybytes(), "empty": b""}
    store.write(bad, ways[damage])
    with pytest.raises(StorageError) as caught:
        list(ledger.scan())
    assert caught.value.code == "bad_ledger"
    assert bad in str(caught.value)


def test_a_part_of_a_later_release_is_refused(place: str) -> None:
    ledger = Ledger(place)
    uri = ledger.append([_done("a" * 64)])
    _, metadata = unseal(store_for(place).read(uri))
    assert metadata["dreamcache.schema"] == "dreamcache.ledger/2"
    later = seal(pa.table({"item_id": ["a" * 64]}), {"dreamcache.schema": "dreamcache.ledger/3"})
    store_for(place).write(join(place, "ledger", "part-later.parquet"), later)
    with pytest.raises(
        StorageError, match=r"ledger/3, this release reads dreamcache\.ledger/2; update"
    ) as caught:
        list(ledger.scan())
    assert caught.value.code == "newer_format"


def test_records_up_to_the_limit_of_a_pruned_image_are_void(place: str) -> None:
    item, ledger = "a" * 64, Ledger(place)
    limit = 1 + MARGIN
    ledger.pruned.announce(pa.table({"item_id": [item], "key": [f"images/aa/{item}.png"], "attempts": [1]}))
    ledger.append([_failed(item, limit)])
    assert item not in ledger.outcomes()
    ledger.append([_failed(item, limit + 1)])
    assert ledger.outcomes()[item].attempts == limit + 1


@pytest.mark.parametrize("attempts", [-1, 2**31 - 1])
def test_a_part_with_an_impossible_number_of_attempts_is_refused(place: str, attempts: int) -> None:
    """One more of them would be no int32, in a retry or in the announcement of a pruned image."""
    ledger = Ledger(place)
    ledger.append([_failed("a" * 64, attempts)])
    with pytest.raises(StorageError, match="number of attempts that is not 0 to 1,000,000") as caught:
        list(ledger.scan())
    assert caught.value.code == "bad_ledger"


def test_other_files_in_the_folder_are_no_parts(place: str) -> None:
    ledger = Ledger(place)
    ledger.append([_done("a")])
    store_for(place).write(join(place, "ledger", "_SUCCESS"), b"")
    assert list(ledger.outcomes()) == ["a"]


def test_parts_are_plain_parquet(place: str) -> None:
    uri = Ledger(place).append([_done("a")], START)
    table = pq.read_table(pa.BufferReader(store_for(place).read(str(uri))))
    assert table.schema.equals(LEDGER_SCHEMA)
    assert table["recorded_at"].to_pylist() == [START]


Recorded = tuple[Outcome, datetime]
items = st.sampled_from(["a", "b", "c", "d"])
attempts_ = st.integers(1, 3)
outcomes_ = st.one_of(
    st.builds(_done, items, attempts_, st.sampled_from([1.0, 2.0])),
    st.builds(_blocked, items, attempts_),
    st.builds(_failed, items, attempts_, st.sampled_from(["x", "y"]), st.sampled_from(["", "m"])),
)
recorded = st.tuples(outcomes_, st.integers(0, 3).map(lambda s: START + timedelta(seconds=s)))


def _tables(records: list[Recorded], sizes: random.Random) -> list[pa.Table]:
    tables = []
    while records:
        cut = sizes.randint(1, len(records))
        rows = [to_row(*record) for record in records[:cut]]
        tables.append(pa.Table.from_pylist(rows, schema=LEDGER_SCHEMA))
        records = records[cut:]
    return tables


@settings(max_examples=80, deadline=None)
@given(st.lists(recorded, max_size=25), st.randoms(use_true_random=False))
def test_resolve_is_one_best_record_in_any_order(records: list[Recorded], rng: random.Random) -> None:
    found = resolve(_tables(records, rng))
    shuffled = rng.sample(records, len(records))
    assert resolve(_tables(shuffled, rng)) == found
    assert resolve(_tables(records + records, rng)) == found, "a part read twice changes nothing"
    assert set(found) == {outcome.item_id for outcome, _ in records}
    for item_id, chosen in found.items():
        mine = [record for record in records if record[0].item_id == item_id]
        best = max((RANK[o.status], o.attempts, at) for o, at in mine)
        assert any(o == chosen and (RANK[o.status], o.attempts, at) == best for o, at in mine)


@settings(max_examples=40, deadline=None)
@given(st.lists(recorded, max_size=15), st.randoms(use_true_random=False))
def test_resolving_in_steps_is_resolving_at_once(records: list[Recorded], rng: random.Random) -> None:
    tables = _tables(records, rng)
    half = len(tables) // 2
    steps = [resolve_table(tables[:half]), resolve_table(tables[half:])]
    assert resolve_table(steps).equals(resolve_table(tables))
