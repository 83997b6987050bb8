"""Long suites in turns: of tests marked `turns(n)`, a run for a commit executes one part in n, chosen by the commit.

    pytest                        every test
    pytest --commit $(git rev-parse HEAD)      a part of each marked module; what waits for another commit is listed

The unit is a test with its parameters, or the whole module where its tests share one expensive run:
`turns(n, unit="module")`. Units of one n take turns by the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import pytest

UNITS = ("test", "module")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--commit", default="", help="run only this commit's part of the tests marked `turns`")


def pytest_report_header(config: pytest.Config) -> list[str]:
    commit = config.getoption("--commit")
    return [f"turns: the part of commit {commit[:12]}"] if commit else []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects, after all other selection, what is not this commit's turn."""
    commit = config.getoption("--commit")
    if not commit:
        return
    units = {item: unit for item in items if (unit := unit_of(item)) is not None}
    chosen = {
        unit
        for parts in {parts for parts, _ in units.values()}
        for unit in turn(units.values(), parts, commit)
    }
    waiting = [item for item in items if item in units and units[item] not in chosen]
    if waiting:
        config.hook.pytest_deselected(items=waiting)
        items[:] = [item for item in items if item not in set(waiting)]
        names = "\n  ".join(sorted({units[item][1] for item in waiting}))
        print(f"\nwaiting for another commit's turn (make test-all runs them):\n  {names}")


def unit_of(item: pytest.Item) -> tuple[int, str] | None:
    """(n, name) of what takes turns together; None for a test that always runs."""
    mark = item.get_closest_marker("turns")
    if mark is None:
        return None
    unit = mark.kwargs.get("unit", "test")
    assert unit in UNITS, f"{item.nodeid}: unit must be one of {UNITS}, got {unit!r}"
    return mark.args[0], item.nodeid if unit == "test" else item.nodeid.partition("::")[0]


def turn(units: Iterable[tuple[int, str]], parts: int, commit: str) -> set[tuple[int, str]]:
    """The units of these `parts` that run for this commit: every n-th, at least one."""
    names = sorted({unit for unit in units if unit[0] == parts})
    start = int(sha256(commit.encode()).hexdigest(), 16) % min(parts, len(names))
    return set(names[start::parts])
