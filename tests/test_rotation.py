"""What takes turns: every test is some commit's, and a part without its turn is listed and not run."""

from __future__ import annotations

import pytest

from tests.rotation import turn

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.turns(3)
@pytest.mark.parametrize("number", range(7))
def test_each(number): pass

def test_always(): pass
"""


def test_every_unit_has_its_commit_and_about_a_third_runs() -> None:
    units = [(3, f"test_{number}") for number in range(7)] + [(2, "other")]
    turns = {frozenset(turn(units, 3, f"commit {number}")) for number in range(50)}
    assert sorted(map(len, turns)) == [2, 2, 3]
    assert set().union(*turns) == set(units[:7])
    assert turn(units, 2, "any") == {(2, "other")}


def test_what_waits_is_listed_and_the_rest_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    pytester.makeini("[pytest]\nmarkers = turns")
    pytester.makeconftest("from tests.rotation import *")
    everything = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    everything.assert_outcomes(passed=8)
    chosen = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--commit", "a")
    counts = chosen.parseoutcomes()
    assert counts["passed"] in (3, 4) and counts["passed"] + counts["deselected"] == 8
    text = chosen.stdout.str()
    assert text.count("test_each[") == counts["deselected"] and "waiting for another commit's turn" in text
