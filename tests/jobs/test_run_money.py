"""Whole runs without a worker: money in manifest and status, limits after a kill, and what is sent at each end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.run_state import seen
from dreamcache.storage.spending import Spending, read_spending, write_spending
from dreamcache.storage.status import read_status
from jobs.output.cost import RowCounts, cost_summary, of_status, of_summary
from jobs.planning.estimate import _money
from jobs.running.money import spent_by_subject
from jobs.running.status_text import status_lines
from jobs.spec import parse_spec
from tests.jobs.test_run_ends import done, failed, finish, record
from tests.tls_server import TlsServer

MakeSpec = Callable[..., JobSpec]
PRICE = {"gpu_hour": 2.5, "currency": "EUR"}


def hooked(server: TlsServer) -> dict[str, Any]:
    host = {"host": f"127.0.0.1:{server.port}", "networks": ["127.0.0.0/8"], "ca": server.ca}
    return {"webhook": server.url("/hook"), "hosts": [host]}


def manifest_json(spec: JobSpec) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(Path(spec.output, "manifest.json").read_text())
    return value


def test_what_a_killed_driver_had_reserved_is_spent(make_spec: MakeSpec) -> None:
    spec = make_spec(price=PRICE, limits={"max_cost": 6})
    record(spec, done, done, done, done)
    write_spending(spec.output, Spending(spent=4, reserved=5))
    assert finish(spec).exit_code == 0
    assert manifest_json(spec)["cost"] == {
        "spent": 5.0, "currency": "EUR", "per_image": 1.25, "per_approved_image": None,
    }  # fmt: skip
    status = read_status(spec.output)
    assert status is not None and status.details["spent"]["cost"] == 5.0
    assert "cost: 5.00 EUR, 1.25 EUR an image" in status_lines(status, seen(status))
    assert read_spending(spec.output) == Spending(spent=5, reserved=5)


def test_money_of_a_subject_counts_each_record_once(make_spec: MakeSpec) -> None:
    """A driver that is killed while it merges parts leaves the merged one beside its sources."""
    spec = make_spec(price={**PRICE, "cpu_hour": 1.0})
    record(spec, done, done)
    ledger = Ledger(spec.output)
    [part] = ledger.scan()
    subjects = pa.array(["mug"] * part.num_rows)
    ledger.log.append(
        "one", part.set_column(part.schema.get_field_index("subject_id"), "subject_id", subjects)
    )
    before = spent_by_subject(spec, ledger)
    assert list(before) == ["mug"] and before["mug"] > 0
    ledger.log.append("merged", pa.concat_tables(ledger.scan()))
    assert len(list(ledger.scan())) == 3
    assert spent_by_subject(spec, ledger) == before


def test_a_number_that_is_no_amount_of_money(tmp_path: Path) -> None:
    for text in ("9" * 400, "1e400", "-1", "true"):
        (tmp_path / "spending.json").write_text(f'{{"format": 1, "spent": {text}, "reserved": 1}}')
        assert read_spending(str(tmp_path)) is None, text


def test_a_limit_of_money_that_is_spent_ends_the_run(make_spec: MakeSpec) -> None:
    spec = make_spec(price=PRICE, limits={"max_cost": 5})
    record(spec, done, done)
    write_spending(spec.output, Spending(spent=4, reserved=5))
    report = finish(spec)
    assert report.exit_code == 4 and report.stopped is not None
    assert report.stopped.startswith("limits.max_cost (5 EUR) is reached: 5 spent")


def test_each_end_of_a_run_is_sent_once(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMCACHE_WEBHOOK_SECRET", "s")
    with TlsServer() as server:
        spec = make_spec(on_finish=hooked(server))
        record(spec, done, done, done, failed)
        assert finish(spec).exit_code == 3
        assert not Path(spec.output, "_SUCCESS").exists()
        finish(spec)
        Path(spec.catalog).unlink()
        with pytest.raises(DreamCacheError):
            finish(spec)
        events = [json.loads(body) for _, _, body in server.posts]
    assert [event["exit_code"] for event in events] == [3, 3, 1]
    assert [event["state"] for event in events] == ["finished", "finished", "failed"]
    assert (events[0]["done"], events[0]["failed"], events[0]["total"]) == (3, 1, 4)
    assert len({event["id"] for event in events}) == 3


def test_a_whole_job_says_success_until_the_next_run(make_spec: MakeSpec) -> None:
    spec = make_spec(on_finish={})
    record(spec, done, done, done, done)
    finish(spec)
    assert json.loads(Path(spec.output, "_SUCCESS").read_text())["exit_code"] == 0
    Path(spec.catalog).unlink()
    with pytest.raises(DreamCacheError):
        finish(spec)
    assert Path(spec.output, "_SUCCESS").exists()  # it has not begun: what the folder holds is whole


def test_costs_of_approved_images() -> None:
    counts = RowCounts()
    counts.add(pa.table({"status": ["done", "done", "failed"], "review": ["approved", "rejected", None]}))
    counts.add(pa.table({"status": ["done"], "review": ["pending"]}))
    summary = cost_summary(6.0, "USD", counts)
    assert (summary.per_image, summary.per_approved_image) == (2.0, 6.0)
    assert summary.line() == "cost: 6.00 USD, 2.00 USD an image, 6.00 USD an approved image"
    plain = RowCounts()
    plain.add(pa.table({"status": ["done"]}))
    assert cost_summary(1.0, "USD", plain).per_approved_image is None


def test_an_estimate_states_money_of_the_declared_workers() -> None:
    values = {"name": "a", "catalog": "c", "output": "o", "price": {"gpu_hour": 2}, "limits": {"max_cost": 9}}
    spec = parse_spec(
        {**values, "workers": {"generators": {"gpus": 1, "count": 3}, "encoders": {"gpus": 0.5}}}
    )
    assert _money(spec, (3600, 7200)) == {"currency": "USD", "cost_limit": 9, "cost": (7, 14)}
    assert _money(spec, None) == {"currency": "USD", "cost_limit": 9}
    assert _money(parse_spec({"name": "a", "catalog": "c", "output": "o"}), (1, 2)) == {}


@pytest.mark.parametrize("cost", [None, 5, {"spent": "x", "currency": "EUR"}, {"spent": 1, "currency": 2}])
def test_costs_of_a_forged_summary_are_passed_over(cost: Any) -> None:
    assert of_summary({"cost": cost}) is None
    assert of_status({"spent": {"cost": cost}, "currency": None}, 3) is None
