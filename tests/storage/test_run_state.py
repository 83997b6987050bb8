"""A driver that died is seen from outside; one that lives is not mistaken for it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dreamcache.storage.driver import Driver, is_alive, this_driver
from dreamcache.storage.run_state import LOST_AFTER_S, as_seen, seen
from dreamcache.storage.status import HEARTBEAT_S, Status, now, parse_status

ELSEWHERE = Driver(
    host="elsewhere", pid=1, run_id="0" * 16, boot_id="b", pid_namespace="p", process_started=5
)
CHILD = """
from dreamcache.storage.driver import this_driver
me = this_driver()
print(me.pid, me.process_started, flush=True)
input()
"""


def a_status(driver: Driver | None, *, ago_s: float = 0.0, **changes: object) -> Status:
    moment = (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat(timespec="seconds")
    status = Status(
        kind="job", name="a", state="running", started_at=moment, updated_at=moment, driver=driver
    )
    return replace(status, **changes)  # type: ignore[arg-type]


def test_this_process_is_alive_and_one_that_was_killed_is_not() -> None:
    me = this_driver()
    assert is_alive(me) is True and seen(a_status(me, ago_s=3600)).state == "running"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdin is not None
    pid, started = map(int, child.stdout.readline().split())
    driver = replace(me, pid=pid, process_started=started)
    assert is_alive(driver) is True
    child.kill()
    while is_alive(driver):  # a zombie until it is waited for
        pass
    lost = seen(a_status(driver))
    assert lost.state == "lost" and f"process {pid}" in str(lost.reason)
    child.communicate()
    assert is_alive(driver) is False
    assert is_alive(replace(me, process_started=me.process_started + 1)) is False, "the id was used again"


def test_a_driver_elsewhere_is_lost_without_a_heartbeat() -> None:
    assert is_alive(ELSEWHERE) is None
    assert LOST_AFTER_S > 3 * HEARTBEAT_S and LOST_AFTER_S < 60
    assert seen(a_status(ELSEWHERE, ago_s=LOST_AFTER_S - 5)).state == "running"
    status = a_status(ELSEWHERE, ago_s=LOST_AFTER_S + 5, eta_s=9.0)
    assert seen(status).state == "lost"
    assert seen(replace(status, heartbeat_at=now())).state == "running"
    value = as_seen(status)
    assert (value["state"], value["recorded_state"], value["eta_s"]) == ("lost", "running", None)
    assert "elsewhere" in value["exit_reason"]


def test_what_has_ended_and_what_older_releases_wrote_is_never_lost() -> None:
    for state in ("stopped", "failed", "finished"):
        assert seen(a_status(ELSEWHERE, ago_s=9999, state=state)).state == state
    assert seen(a_status(None, ago_s=9999)).state == "running"


def test_the_driver_is_read_back_and_a_damaged_one_is_refused() -> None:
    value = a_status(this_driver()).as_dict()
    assert parse_status(value).driver == this_driver_of(value)
    for wrong in ({"pid": 1}, [], "x", {**value["driver"], "pid": -1}, {**value["driver"], "host": 3}):
        try:
            parse_status({**value, "driver": wrong})
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        raise AssertionError(wrong)


def this_driver_of(value: dict[str, object]) -> Driver:
    return Driver(**value["driver"])  # type: ignore[arg-type]
