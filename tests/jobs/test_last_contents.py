"""Photos whose storage does not answer for now: what was last read of them stands, so finished work stays finished."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.records import Done
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.web import client as web_client
from jobs.planning.planner import Plan, plan
from jobs.reconcile.prune import orphans
from jobs.reconcile.remaining import Work, find_work
from jobs.running.planned import record_unrunnable
from tests.tls_server import TlsServer

MakeSpec = Callable[..., JobSpec]
FILES = {"/a.png": b"photo a", "/a-mask.png": b"mask a", "/b.png": b"photo b"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_client, "PAUSE_S", 0.01)
    web_client.web_photos.cache_clear()


@pytest.fixture
def job(make_spec: MakeSpec) -> Callable[[TlsServer], JobSpec]:
    def make(server: TlsServer, **changes: Any) -> JobSpec:
        rows = f"a,{server.url('/a.png')},{server.url('/a-mask.png')}\nb,{server.url('/b.png')},\n"
        host = {
            "host": f"127.0.0.1:{server.port}",
            "networks": ["127.0.0.0/8"],
            "ca": server.ca,
            "timeout_s": 2,
        }
        return make_spec(f"subject_id,image,mask\n{rows}", catalog_hosts=[host], **changes)

    return make


def codes(made: Plan) -> set[str | None]:
    return set(made.table["code"].to_pylist())


def work_of(spec: JobSpec) -> Work:
    return find_work(plan(spec), Ledger(spec.output))


def test_a_host_that_is_down_costs_no_finished_item(job: Callable[..., JobSpec]) -> None:
    files = dict(FILES)
    with TlsServer(files) as server:
        spec = job(server)
        first = plan(spec)
        ids = first.table["item_id"].to_pylist()
        ledger = Ledger(spec.output)
        done = [ids[0], ids[2]]
        ledger.append(
            [
                Done(
                    item_id=item,
                    key=f"images/{item[:2]}/{item}.png",
                    width=1,
                    height=1,
                    num_bytes=1,
                    pixel_sha256="f",
                )
                for item in done
            ]
        )
    down = plan(spec)
    assert down.table["item_id"].to_pylist() == ids and down.fingerprint == first.fingerprint
    assert codes(down) == {"host_unreachable"}
    assert any("2 photos cannot be read for now" in note for note in down.notes)
    work = find_work(down, ledger)
    assert (work.recorded, work.num_pending, work.num_unrunnable) == ({"done": 2}, 2, 2)
    assert list(orphans(down, ledger)) == []
    for _ in record_unrunnable(work, ledger):
        pass
    assert work_of(spec).recorded == {"done": 2, "failed": 2}

    # A good run: what failed for that reason is tried again, and nothing else.
    with TlsServer(files) as server:
        spec = job(server)  # at another port, so under other addresses: the content decides
        work = work_of(spec)
        assert (work.recorded, work.num_pending, work.num_unrunnable) == ({"done": 2}, 2, 0)


@pytest.mark.parametrize("path", ["/a.png", "/b.png"])
def test_a_photo_that_is_gone_is_no_host_that_is_down(job: Callable[..., JobSpec], path: str) -> None:
    files = dict(FILES)
    with TlsServer(files) as server:
        spec = job(server)
        before = plan(spec).table
        del files[path]
        after = plan(spec).table
    name = path[1]
    assert codes(plan(spec)) == {"host_unreachable"}
    for old, new in zip(before.to_pylist(), after.to_pylist(), strict=True):
        is_gone = old["subject_id"] == name
        assert (new["code"] == "missing_image", new["item_id"] != old["item_id"]) == (is_gone, is_gone)


def test_what_was_read_last_stands(job: Callable[..., JobSpec]) -> None:
    """A changed photo, then one that never was read: the one has its newest content, the other none."""
    files = dict(FILES)
    with TlsServer(files) as server:
        spec = job(server)
        plan(spec)
        for content in (b"another photo", FILES["/b.png"], b"a third"):
            files["/b.png"] = content
            newest = plan(spec).table["item_id"].to_pylist()
    assert plan(spec).table["item_id"].to_pylist() == newest
    with TlsServer(files) as server:
        spec = job(server, cache=spec.cache_uri + "-other")
    assert set(plan(spec).table["item_id"].to_pylist()).isdisjoint(newest)


def test_unchanged_photos_are_not_sent_again(job: Callable[..., JobSpec]) -> None:
    files = dict(FILES)
    with TlsServer(files) as server:
        spec = job(server)
        assert (plan(spec).photos.read, plan(spec).photos.known) == (3, 3)
        index = Path(spec.cache_uri, "photo-index")
        assert len(list(index.iterdir())) == 1  # a plan without changes adds nothing
        files["/b.png"] = b"another photo"
        assert (plan(spec).photos.read, plan(spec).photos.known) == (1, 3)
        checked = plan(spec, verify_photos=True)
        assert (checked.photos.read, checked.photos.known) == (3, 0)
        assert len(list(index.iterdir())) == 2


def test_a_disk_that_does_not_answer(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rule for photos on disks and in stores."""
    spec = make_spec()
    monkeypatch.setattr("dreamcache.storage.photo_states.SETTLED_NS", 0)
    before = plan(spec).table["item_id"].to_pylist()
    folder = Path(spec.catalog).parent
    stat = os.stat

    def failing(path: Any, *rest: Any, **more: Any) -> os.stat_result:
        if str(path) == str(folder / "a.png"):
            raise OSError(5, "Input/output error")
        return stat(path, *rest, **more)

    monkeypatch.setattr(os, "stat", failing)
    after = plan(spec)
    assert after.table["item_id"].to_pylist() == before
    assert after.table["code"].to_pylist() == ["io_error"] * 2 + [None] * 2
    ledger = Ledger(spec.output)
    for _ in record_unrunnable(find_work(after, ledger), ledger):
        pass
    monkeypatch.setattr(os, "stat", stat)
    assert work_of(spec).num_pending == 4
