"""The commit protocol under random interleavings: several writers, two drivers, crashes, compaction, pruning.

Every step of an actor is a rule of the machine, so a crash is an actor whose next step never comes, and a driver
that comes back from the dead one whose next step comes late. The store is a real folder.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dreamcache.core.config import ImageFormat
from dreamcache.core.records import Done, Failed, Outcome
from dreamcache.storage.compaction import compact, level_of, merged_name
from dreamcache.storage.image_store import ImageStore
from dreamcache.storage.ledger import Ledger, distinct_table, resolve, to_bytes
from dreamcache.storage.open_store import join, store_for

ITEMS = [digit * 64 for digit in "012"]
NUM_DRIVERS = 2


@dataclass
class Driver:
    """pending: attempts by item, as of its last look at the ledger. unrecorded: outcomes without a record."""

    pending: dict[str, int] = field(default_factory=dict)
    unrecorded: dict[str, Outcome] = field(default_factory=dict)


@dataclass
class Compaction:
    """A compactor between two steps."""

    sources: list[str]
    tables: dict[str, pa.Table] = field(default_factory=dict)
    created: bool = False


class Protocol(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.mkdtemp(prefix="dreamcache-protocol-")
        self.ledger, self.store = Ledger(self.place), store_for(self.place)
        self.images = ImageStore(self.place, ImageFormat())
        self.drivers = [Driver() for _ in range(NUM_DRIVERS)]
        self.compactors: list[Compaction] = []
        self.prunes: list[tuple[str, list[str]]] = []
        self.num_generated = 0
        self.committed: dict[str, bytes] = {}
        self.appended: set[tuple[str, int, str, str | None]] = set()
        self.ended: dict[str, str] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.place)

    # A driver: look, generate and commit, record. A crash of it is a new look with nothing in flight.

    @rule(driver=st.integers(0, NUM_DRIVERS - 1), retry=st.booleans())
    def look(self, driver: int, retry: bool) -> None:
        if self.ledger.pruned.unfinished():
            return  # a run refuses to start
        found = self.ledger.outcomes()
        void = self.ledger.pruned.limits()
        pending = {item: void.get(item, 0) for item in ITEMS if item not in found}
        if retry:
            pending |= {item: o.attempts for item, o in found.items() if o.status == "failed"}
        self.drivers[driver] = Driver(pending=pending)

    @precondition(lambda self: any(driver.pending for driver in self.drivers))
    @rule(data=st.data(), fails=st.booleans())
    def generate(self, data: st.DataObject, fails: bool) -> None:
        mine = data.draw(st.sampled_from([driver for driver in self.drivers if driver.pending]))
        item = data.draw(st.sampled_from(sorted(mine.pending)))
        attempts = mine.pending[item] + 1
        if fails:
            mine.unrecorded[item] = Failed(item_id=item, code="bad_image", message="m", attempts=attempts)
            return
        self.num_generated += 1
        pixels = f"pixels of image {self.num_generated}".encode()
        if self.images.commit(item, pixels):
            assert item not in self.committed, "a second object under one key"
            self.committed[item] = pixels
        else:
            pixels = self.images.read(self.images.key_of(item))
        mine.unrecorded[item] = done(item, pixels, attempts)

    @precondition(lambda self: any(driver.unrecorded for driver in self.drivers))
    @rule(data=st.data(), repeated=st.booleans())
    def record(self, data: st.DataObject, repeated: bool) -> None:
        mine = data.draw(st.sampled_from([driver for driver in self.drivers if driver.unrecorded]))
        outcomes = list(mine.unrecorded.values())
        for _ in range(1 + repeated):  # a task that is run again appends again
            self.ledger.append(outcomes)
        self.appended |= {(o.item_id, o.attempts, o.status, getattr(o, "code", None)) for o in outcomes}
        for item in mine.unrecorded:
            mine.pending.pop(item, None)
        mine.unrecorded = {}

    # Compactors: whole ones, and slow ones whose steps are apart.

    @rule()
    def compact_at_once(self) -> None:
        compact(self.ledger, fan=2)

    @rule(data=st.data())
    def compactor_lists(self, data: st.DataObject) -> None:
        parts = [info.uri for info in self.ledger.parts()]
        levels = [level for level in (0, 1) if sum(level_of(uri) == level for uri in parts) > 1]
        if levels and len(self.compactors) < 2:
            level = data.draw(st.sampled_from(levels))
            self.compactors.append(Compaction(sources=[uri for uri in parts if level_of(uri) == level]))

    @precondition(lambda self: self.compactors)
    @rule(data=st.data())
    def compactor_continues(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.compactors))
        if not one.tables:
            read = {uri: self.ledger.read_part(uri) for uri in one.sources}
            one.tables = {uri: table for uri, table in read.items() if table is not None}
            if len(one.tables) < 2:
                self.compactors.remove(one)
        elif not one.created:
            merged = to_bytes(distinct_table(one.tables.values()))
            level = level_of(one.sources[0]) + 1
            self.store.create(join(self.ledger.uri, merged_name(merged, level)), merged)
            one.created = True
        else:
            uri, _ = one.tables.popitem()
            self.store.delete(uri)
            if not one.tables:
                self.compactors.remove(one)

    @precondition(lambda self: self.compactors)
    @rule(which=st.integers(0, 1))
    def compactor_crashes(self, which: int) -> None:
        del self.compactors[which : which + 1]

    # Pruning: announce, delete one by one, finish. After a crash another continues it.

    @precondition(lambda self: not self.prunes and "done" in self.ended.values())
    @rule(data=st.data())
    def announce_a_prune(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(sorted(i for i, status in self.ended.items() if status == "done")))
        found = self.ledger.outcomes()[item]
        assert isinstance(found, Done)
        images = pa.table({"item_id": [item], "key": [found.key], "attempts": [found.attempts]})
        self.prunes.append((self.ledger.pruned.announce(images), [item]))
        self.ended.pop(item, None)

    @precondition(lambda self: self.prunes)
    @rule()
    def prune_continues(self) -> None:
        uri, items = self.prunes[-1]
        if items:
            item = items.pop()
            self.store.delete(join(self.place, self.images.key_of(item)))
            self.committed.pop(item, None)
            return
        self.ledger.pruned.finish(uri)
        self.prunes.pop()

    # What must hold after every step.

    @invariant()
    def one_record_an_item_which_is_never_lost(self) -> None:
        found = self.ledger.outcomes()
        tables = [t for info in self.ledger.parts() if (t := self.ledger.read_part(info.uri)) is not None]
        kept = {
            (row["item_id"], row["attempts"], row["status"], row["code"])
            for table in tables
            for row in table.to_pylist()
        }
        assert kept == self.appended, "a record was lost or made up"
        for item, status in self.ended.items():
            assert item in found, "a terminal record is gone"
            assert not (status == "done" and found[item].status != "done"), "done was downgraded"
        self.ended = {item: outcome.status for item, outcome in found.items()}
        assert resolve([*tables, *tables]) == resolve(tables)

    @invariant()
    def every_done_record_has_its_image(self) -> None:
        for item, outcome in self.ledger.outcomes().items():
            if isinstance(outcome, Done):
                data = self.images.read(outcome.key)
                assert data == self.committed[item], "a committed object was rewritten"
                assert replace(outcome, attempts=1) == done(item, data, 1)


def done(item: str, data: bytes, attempts: int) -> Done:
    """The record of an image, with its bytes for the hash so that record and object can be compared."""
    return Done(
        item_id=item,
        key=f"images/{item[:2]}/{item}.png",
        width=8,
        height=8,
        num_bytes=len(data),
        pixel_sha256=data.decode(),
        attempts=attempts,
    )


class Longer(Protocol):
    """The same machine, for more interleavings."""


COMMON = settings(
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(COMMON, max_examples=20)
TestLonger = pytest.mark.slow(Longer.TestCase)
TestLonger.settings = settings(COMMON, max_examples=100)
