"""Slow tests in turns: a run for a commit executes the part of them whose turn it is, chosen by the commit.

    pytest                                     every test
    pytest --commit $(git rev-parse HEAD)      what is not slow, and one part of the slow tests; what waits is listed

The parts last about PART_SECONDS each by the seconds recorded in `slow_seconds.json`, so a run for a commit has a
known length whatever is added. The unit is a test with its parameters, or the whole module where its tests share one
expensive run: `turns(unit="module")`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

UNITS = ("test", "module")
PART_SECONDS = 700
UNKNOWN_SECONDS = 30.0
"""Of a test that has no recorded time yet."""
RECORDED = Path(__file__).parent / "slow_seconds.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--commit", default="", help="run only this commit's part of the slow tests")


def pytest_report_header(config: pytest.Config) -> list[str]:
    commit = config.getoption("--commit")
    return [f"turns: the part of commit {commit[:12]}"] if commit else []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects, after all other selection, what is not this commit's turn."""
    commit = config.getoption("--commit")
    units = {item: unit_of(item) for item in items if item.get_closest_marker("slow")}
    if not commit or not units:
        return
    recorded: dict[str, float] = json.loads(RECORDED.read_text("utf-8"))
    seconds: dict[str, float] = {}
    for item, unit in units.items():
        seconds[unit] = seconds.get(unit, 0.0) + recorded.get(function_of(item.nodeid), UNKNOWN_SECONDS)
    chosen = turn(seconds, commit)
    waiting = {item for item, unit in units.items() if unit not in chosen}
    if waiting:
        config.hook.pytest_deselected(items=list(waiting))
        items[:] = [item for item in items if item not in waiting]
        names = "\n  ".join(sorted({function_of(item.nodeid) for item in waiting}))
        print(f"\nwaiting for another commit's turn (make test-slow runs them):\n  {names}")
    print(f"this commit's part of the slow tests: about {sum(seconds[unit] for unit in chosen):.0f} s")


def unit_of(item: pytest.Item) -> str:
    """The name of what takes turns together with this test."""
    mark = item.get_closest_marker("turns")
    unit = mark.kwargs["unit"] if mark else "test"
    assert unit in UNITS, f"{item.nodeid}: unit must be one of {UNITS}, got {unit!r}"
    return item.nodeid if unit == "test" else item.nodeid.partition("::")[0]


def function_of(nodeid: str) -> str:
    """A test's name without its parameters: the key of the recorded seconds, which are a mean over the parameters."""
    return nodeid.partition("[")[0]


def turn(seconds: Mapping[str, float], commit: str) -> set[str]:
    """The units that run for this commit. Long ones first, each goes to the part that is the shortest so far."""
    parts: list[set[str]] = [set() for _ in range(math.ceil(sum(seconds.values()) / PART_SECONDS) or 1)]
    lengths = [0.0] * len(parts)
    for unit in sorted(seconds, key=lambda unit: (-seconds[unit], unit)):
        shortest = lengths.index(min(lengths))
        parts[shortest].add(unit)
        lengths[shortest] += seconds[unit]
    return parts[int(sha256(commit.encode()).hexdigest(), 16) % len(parts)]
