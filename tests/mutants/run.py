"""Runs every mutant against the tests that must notice it: python -m tests.mutants.run [--commit C] [NAME ...]

    copy of the tree -> bug in one file -> its tests in a forked child -> killed or lived -> the file as it was

First the tests run without any bug, since tests that fail anyway notice nothing, and the time that they need says
whether a mutant that exceeds the limit hangs. Exit code 1: a mutant lived that must not, does not apply any more, or
has tests that fail, do not run or take long without it.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.children import Child, Result, preload
from tests.mutants.patches import Mutant, MutantError, missing_tests, read_mutants, tenth_of
from tests.mutants.report import Verdict, print_summary, write_report
from tests.mutants.verdicts import VerdictFile

ROOT = Path(__file__).parents[2]
LIMIT_S = 90.0
"""Of CPU, for the tests of one mutant."""
MOST_WITHOUT_A_BUG_S = LIMIT_S / 3
"""Of a mutant's tests together: what takes longer with the bug than LIMIT_S hangs, and is not only slow."""
SUITE = (
    "tests",
    "-m",
    "not browser and not slow and not ray",
    "--ignore=tests/mutants",
    "--ignore=tests/house",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Tests to run in a tree; mutant: whose bug is in it, None for none."""

    tests: tuple[str, ...]
    mutant: Mutant | None = None


def main() -> int:
    options = _options()
    mutants = read_mutants()
    if options.names:
        mutants = [mutant for mutant in mutants if any(name in mutant.name for name in options.names)]
    elif options.commit:
        mutants = tenth_of(mutants, options.commit)
        print(f"{len(mutants)} mutants, chosen by commit {options.commit[:12]}", flush=True)
    verdicts = {mutant.name: verdict for mutant in mutants if (verdict := unusable(mutant, ROOT)) is not None}
    log = VerdictFile(Path(options.resume), ROOT) if options.resume else None
    if log is not None:
        verdicts |= log.read([mutant for mutant in mutants if mutant.name not in verdicts])
        print(f"{len(verdicts)} of {len(mutants)} verdicts are known", flush=True)
    preload()
    with trees(options.jobs) as roots:
        usable = [mutant for mutant in mutants if mutant.name not in verdicts]
        if not (options.find or options.trust):
            verdicts |= _without_any_bug(usable, roots)
        tasks = [
            Task(tests=SUITE if options.find else mutant.tests, mutant=mutant)
            for mutant in usable
            if mutant.name not in verdicts
        ]
        for task, result in run_all(tasks, roots, limit_s=900 if options.find else LIMIT_S):
            assert task.mutant is not None
            verdicts[task.mutant.name] = verdict = Verdict.of(task.mutant, result)
            print(verdict.line(), flush=True)
            if log is not None:
                log.add(verdict)
    ordered = [verdicts[mutant.name] for mutant in mutants]
    if options.report:
        write_report(Path(options.report), ordered)
    return print_summary(ordered)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests.mutants.run", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("names", nargs="*", help="parts of names; all mutants if none is given")
    parser.add_argument("--commit", help="run a tenth, chosen by this text")
    parser.add_argument("--jobs", type=int, default=2, help="test runs at the same time")
    parser.add_argument("--report", help="write a Markdown report to this file")
    parser.add_argument(
        "--resume", help="verdicts are added to this file, and those in it are not found anew"
    )
    parser.add_argument("--trust", action="store_true", help="do not run the tests without any bug first")
    parser.add_argument("--find", action="store_true", help="run the whole fast suite: which test kills it?")
    return parser.parse_args()


def unusable(mutant: Mutant, root: Path) -> Verdict | None:
    """Why this mutant cannot be run, None when it can."""
    try:
        mutant.apply(root)
    except MutantError as error:
        return Verdict(mutant=mutant, state="error", reason=str(error))
    if missing := missing_tests(root, mutant):
        return Verdict(mutant=mutant, state="error", reason=f"no such tests: {', '.join(missing)}")
    return None


def _without_any_bug(mutants: Sequence[Mutant], roots: Sequence[Path]) -> dict[str, Verdict]:
    """Verdicts on mutants whose tests do not pass, or not in good time, in the tree as it is."""
    verdicts: dict[str, Verdict] = {}
    seconds = dict.fromkeys([mutant.name for mutant in mutants], 0.0)
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    for task, result in run_all([Task(tests=(test,)) for test in tests], roots, limit_s=2 * LIMIT_S):
        test = task.tests[0]
        concerned = [mutant for mutant in mutants if test in mutant.tests and mutant.name not in verdicts]
        for mutant in concerned:
            seconds[mutant.name] += result.seconds
            if result.code != 0 or not result.num_passed:
                got = f"{result.failed} fails" if result.failed else f"no test of {test} runs"
            elif seconds[mutant.name] > MOST_WITHOUT_A_BUG_S:
                got = f"its tests take {seconds[mutant.name]:.0f} s: name faster ones"
            else:
                continue
            reason = f"without the bug, {got}"
            verdicts[mutant.name] = verdict = Verdict(mutant=mutant, state="error", reason=reason)
            print(verdict.line(), flush=True)
    return verdicts


def run_all(tasks: Sequence[Task], roots: Sequence[Path], *, limit_s: float) -> Iterator[tuple[Task, Result]]:
    """Each task with its result, as they end; one task at a time in each tree."""
    waiting, free = list(tasks), list(roots)
    busy: list[tuple[Task, Child, Path]] = []
    while waiting or busy:
        while waiting and free:
            task, root = waiting.pop(0), free.pop()
            if task.mutant is not None:
                (root / task.mutant.file).write_text(task.mutant.apply(ROOT), "utf-8")
            busy.append((task, Child(root, task.tests, root.with_suffix(".log"), limit_s=limit_s), root))
        time.sleep(0.02)
        for entry in list(busy):
            task, child, root = entry
            if (result := child.result()) is not None:
                busy.remove(entry)
                free.append(root)
                if task.mutant is not None:
                    shutil.copy(ROOT / task.mutant.file, root / task.mutant.file)
                yield task, result


@contextmanager
def trees(count: int) -> Iterator[list[Path]]:
    """Copies of the files that git knows or would know, in a temporary folder. Product bytecode is checked by hash."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="dreamcache-mutants-") as folder:
        roots = [Path(folder, f"tree{number}") for number in range(count)]
        for root in roots:
            for name in filter(None, listed.split("\0")):
                if (ROOT / name).is_file():
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / name, root / name)
            compiling = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode=checked-hash", "."]
            subprocess.run(compiling, cwd=root, check=False)
        yield roots


if __name__ == "__main__":
    sys.exit(main())
