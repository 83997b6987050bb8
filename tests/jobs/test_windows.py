"""Windows of the plan in flight: how many there are, what is due after a loss, and that no worker waits at an edge."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from jobs.running.windows import Windows
from workers.batches import packed, unpacked
from workers.tables import GENERATED, NO_PIXELS, PLANNED
from workers.windows import WindowShelf

ROWS = 10


def tables(count: int, rows: int = ROWS) -> Iterator[pa.Table]:
    items = [f"{number:06d}" for number in range(count)]
    return (pa.table({"item_id": items[start : start + rows]}) for start in range(0, count, rows))


def windows_of(count: int, recorded: set[str] | None = None, rows: int = ROWS) -> Windows:
    def unrecorded(table: pa.Table) -> pa.Table:
        return table.filter(pa.array([item not in (recorded or set()) for item in items_of(table)]))

    return Windows(tables(count, rows), count, window_rows=rows, look=lambda: unrecorded)


def items_of(table: pa.Table) -> list[str]:
    items: list[str] = table["item_id"].to_pylist()
    return items


def test_a_window_begins_when_as_much_as_one_has_ended() -> None:
    windows = windows_of(35)
    assert windows.num_to_come == 4
    first, second = [items_of(table) for table in windows.due()]
    assert list(windows.due()) == [] and windows.num_to_come == 2
    windows.ended([*first[:4], *second[:5]])
    assert list(windows.due()) == [], "11 rows are in flight"
    windows.ended([first[4], "unknown", first[4]])
    [third] = windows.due()
    assert third.num_rows == ROWS and windows.num_rows == 25
    windows.ended([*first, *second, *items_of(third)])
    [last] = windows.due()
    assert last.num_rows == 5 and windows.num_to_come == 0
    windows.ended(items_of(last))
    assert windows.num_rows == 0 and list(windows.due()) == []


def test_after_a_loss_what_has_no_record_is_due_first() -> None:
    recorded: set[str] = set()
    windows = windows_of(35, recorded)
    first, second = [items_of(table) for table in windows.due()]
    windows.ended(first[:9])
    recorded |= {*first, *second[:3]}  # more than what has come back
    windows.restart()
    assert windows.num_to_come == 1 + 2 and windows.num_rows == 7 + 15
    again, third = [items_of(table) for table in windows.due()]
    assert again == second[3:] and third[0] == f"{2 * ROWS:06d}"
    windows.restart()
    windows.restart()
    assert [items_of(table) for table in windows.due()] == [again, third], "and once more"


def test_fewer_rows_than_expected_end_the_windows() -> None:
    windows = Windows(tables(5), 40, window_rows=ROWS, look=lambda: lambda table: table)
    assert [table.num_rows for table in windows.due()] == [5]
    assert windows.num_to_come == 0


def test_the_shelf_keeps_a_window_until_the_next_is_taken() -> None:
    shelf, table = WindowShelf(), pa.table({"batch": [1]})
    assert shelf.take(0) is None
    shelf.put(0, table)
    shelf.put(1, table)
    assert shelf.take(0) is not None and shelf.take(0) is not None, "a task is tried again"
    assert shelf.take(1) is not None
    with pytest.raises(ValueError, match="window 0 was handed over"):
        shelf.take(0)
    assert shelf.take(2) is None
    shelf.end(2)
    assert [shelf.take(number).num_rows for number in (2, 7)] == [0, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize("schema", [PLANNED, GENERATED])
def test_batches_come_out_as_they_went_in(schema: pa.Schema) -> None:
    texts = {name: "x" for name in PLANNED.names if pa.types.is_string(PLANNED.field(name).type)}
    rows = [
        {**NO_PIXELS, **texts, "item_id": str(number), "mask": None, "rgb": b"\0" * number}
        for number in range(7)
    ]
    table = pa.Table.from_pylist(rows, schema=schema)
    batches = [table.slice(0, 3), table.slice(3, 1), table.slice(4, 3)]
    block = packed(batches)
    assert block.num_rows == len(batches)
    for number, batch in enumerate(batches):
        assert unpacked(block.slice(number, 1)).equals(batch)
        assert unpacked(block.take(pa.array([number]))).equals(batch)
    assert unpacked(packed([schema.empty_table()])).schema.equals(schema)


WORKERS, BATCH, IN_FLIGHT = 256, 8, 2


def idle_share(num_rows: int, due: Callable[[Windows], Iterator[pa.Table]], rows: int) -> float:
    """The share of time in which WORKERS workers have no batch, until fewer batches than workers remain; a batch takes
    about a second."""
    rng, windows = random.Random(1), windows_of(num_rows, rows=rows)
    queue: deque[list[str]] = deque()
    free, running, clock, idle = WORKERS, list[tuple[float, int, list[str]]](), 0.0, 0.0
    remaining, serial = -(-num_rows // BATCH), 0
    while True:
        for table in due(windows):
            items = items_of(table)
            queue.extend(items[start : start + BATCH] for start in range(0, len(items), BATCH))
        while queue and free:
            heapq.heappush(running, (clock + rng.uniform(0.6, 1.4), serial, queue.popleft()))
            free, remaining, serial = free - 1, remaining - 1, serial + 1
        if remaining < WORKERS:  # the tail, where any schedule has fewer batches than workers
            return idle / (WORKERS * clock)
        moment, _, items = heapq.heappop(running)
        idle += free * (moment - clock)
        clock, free = moment, free + 1
        windows.ended(items)


def one_at_a_time(windows: Windows) -> Iterator[pa.Table]:
    """As a pipeline a window would have it."""
    if windows.num_rows % 5_000 == 0:
        yield next(windows.due())


def test_256_workers_lose_nothing_at_the_edges() -> None:
    assert idle_share(60_000, Windows.due, 5_000) < 0.02
    assert idle_share(60_000, one_at_a_time, 5_000) > 0.05, "the measure sees an edge"
