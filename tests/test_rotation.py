"""Turns: every slow test is some commit's, parts are of about one length, what waits is listed and not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rotation import PART_SECONDS, RECORDED, turn
from tests.slow_seconds import seconds_of

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("number", range(70))
def test_each(number): pass

def test_always(): pass
"""


def test_every_unit_has_its_commit_and_parts_are_of_one_length() -> None:
    seconds = {f"test_{number}": 20.0 + number for number in range(70)}
    parts = {frozenset(turn(seconds, f"commit {number}")) for number in range(200)}
    assert len(parts) == 6 and sum(map(len, parts)) == 70
    assert set().union(*parts) == set(seconds)
    lengths = [sum(seconds[unit] for unit in part) for part in parts]
    assert max(lengths) <= PART_SECONDS and max(lengths) - min(lengths) < 90


def test_one_that_is_longer_than_a_part_runs_alone() -> None:
    parts = {frozenset(turn({"long": 1000.0, "short": 50.0}, f"commit {number}")) for number in range(50)}
    assert parts == {frozenset({"long"}), frozenset({"short"})}


def test_what_waits_is_listed_and_the_rest_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    pytester.makeini("[pytest]\nmarkers =\n    slow\n    turns")
    pytester.makeconftest("from tests.rotation import *")
    everything = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    everything.assert_outcomes(passed=71)
    chosen = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--commit", "a")
    counts = chosen.parseoutcomes()
    assert counts["passed"] in (24, 25) and counts["passed"] + counts["deselected"] == 71
    assert "waiting for another commit's turn" in chosen.stdout.str()


def test_seconds_are_read_from_a_report_of_pytest(pytester: pytest.Pytester, tmp_path: Path) -> None:
    package = pytester.mkpydir("checks")
    (package / "test_two.py").write_text(
        "import pytest, time\n@pytest.mark.parametrize('n', [1, 2])\ndef test_a(n): time.sleep(0.1)\n"
        "class TestIt:\n    def test_b(self): pass\n    def test_c(self): pytest.skip()\n"
    )
    report = tmp_path / "report.xml"
    pytester.runpytest_inprocess("-p", "no:cacheprovider", f"--junitxml={report}")
    seconds = seconds_of(str(report))
    assert sorted(seconds) == ["checks/test_two.py::TestIt::test_b", "checks/test_two.py::test_a"]
    assert (
        len(seconds["checks/test_two.py::test_a"]) == 2 and min(seconds["checks/test_two.py::test_a"]) >= 0.1
    )


def test_the_recorded_tests_are_there() -> None:
    root = Path(__file__).parents[1]
    names = {name.partition("::")[0] for name in json.loads(RECORDED.read_text("utf-8"))}
    assert [name for name in sorted(names) if not (root / name).exists()] == []
