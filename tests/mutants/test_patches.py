"""The mutants fit the code and tests of today; the runner distinguishes tests that notice from those that do not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.children import Result
from tests.mutants.patches import FOLDER, TENTHS, Mutant, MutantError, missing_tests, read_mutants, tenth_of
from tests.mutants.report import MOST_THAT_LIVE, Verdict, print_summary
from tests.mutants.verdicts import VerdictFile

ROOT = Path(__file__).parents[2]
MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_compiles_and_names_tests_that_exist(mutant: Mutant) -> None:
    compile(mutant.apply(ROOT), mutant.file, "exec")
    assert not missing_tests(ROOT, mutant)


def test_there_are_enough_and_those_that_live_harm_only_reports() -> None:
    assert len(MUTANTS) >= 150
    living = [mutant for mutant in MUTANTS if mutant.lives]
    assert len(living) <= MOST_THAT_LIVE * len(MUTANTS)
    assert {mutant.harm for mutant in living} <= {"report"}
    assert not FOLDER.joinpath("mutant.toml").exists() and len({mutant.file for mutant in MUTANTS}) >= 30


def test_ten_commits_with_ten_turns_run_every_mutant_once() -> None:
    turns = {tuple(mutant.name for mutant in tenth_of(MUTANTS, f"commit {number}")) for number in range(200)}
    assert len(turns) == TENTHS
    assert Counter(name for turn in turns for name in turn) == Counter(mutant.name for mutant in MUTANTS)


def test_a_text_that_is_not_there_once_is_an_error_that_says_where_it_is() -> None:
    values = {"name": "x/y", "new": "", "tests": ("tests",), "harm": "data"}
    moved = Mutant(file="dreamcache/core/ids.py", old=MUTANTS[0].old, **values)  # type: ignore[arg-type]
    with pytest.raises(MutantError, match=rf"holds the text 0 times.* it is in {MUTANTS[0].file}"):
        moved.apply(ROOT)
    with pytest.raises(MutantError, match="does not exist"):
        Mutant(file="dreamcache/none.py", old="x", **values).apply(ROOT)  # type: ignore[arg-type]
    with pytest.raises(MutantError, match="harm must be"):
        Mutant(file="x", old="x", **{**values, "harm": "none"})  # type: ignore[arg-type]


def test_what_lives_without_a_reason_or_harms_data_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    def verdict(code: int | None, **changes: str) -> Verdict:
        values = {"file": "f", "old": "a", "new": "b", "harm": "report", "name": "x/y", **changes}
        mutant = Mutant(tests=("tests",), **values)  # type: ignore[arg-type]
        return Verdict.of(mutant, Result(code=code, num_passed=1, failed="t", seconds=1.0))

    killed, lived = verdict(1), verdict(0)
    excused, harmful = verdict(0, lives="no reader"), verdict(0, lives="no reader", harm="data")
    assert print_summary([killed] * 19 + [excused]) == 0
    assert print_summary([killed] * 19 + [lived]) == 1
    assert print_summary([killed] * 19 + [harmful]) == 1
    assert print_summary([killed] * 18 + [excused] * 2) == 1
    assert verdict(5).state == "error"
    assert "20 mutants: 19 killed, 0 timed out, 1 lived, 0 not usable" in capsys.readouterr().out
    assert print_summary([killed] * 19 + [verdict(None)]) == 0
    assert "20 mutants: 19 killed, 1 timed out, 0 lived" in capsys.readouterr().out


def test_a_verdict_is_kept_until_the_mutant_its_file_or_its_tests_change(tmp_path: Path) -> None:
    values = {"name": "x/y", "file": "f.py", "old": "a", "new": "b", "harm": "data"}
    mutant, other = (
        Mutant(tests=(f"{name}.py::test",), **values)  # type: ignore[arg-type]
        for name in ("t", "u")
    )
    for name in ("f.py", "t.py", "u.py"):
        tmp_path.joinpath(name).write_text("a")
    log = VerdictFile(tmp_path / "log", tmp_path)
    assert log.read([mutant]) == {}
    lived = Verdict(mutant=mutant, state="lived", reason="", seconds=1.5)
    killed = Verdict(mutant=mutant, state="killed", reason="t", seconds=2.0)
    log.add(lived)
    log.add(killed)
    assert log.read([mutant]) == {"x/y": killed}, "the latest counts"
    assert log.read([other]) == {}
    tmp_path.joinpath("t.py").write_text("b")
    assert log.read([mutant]) == {}
