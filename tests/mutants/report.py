"""Verdicts on mutants: a line each while they run, a summary, and a report in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from tests.mutants.children import NO_TESTS, Result
from tests.mutants.patches import Mutant

State = Literal["killed", "timed out", "lived", "error"]
NOTICED = ("killed", "timed out")
UNNOTICED = "no test noticed it"
MOST_THAT_LIVE = 0.05
"""Share of the mutants, each with a reason, none of which may harm data, records or images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """reason: the test that failed, why the mutant lives, or what is wrong with it."""

    mutant: Mutant
    state: State
    reason: str
    seconds: float = 0.0

    @classmethod
    def of(cls, mutant: Mutant, result: Result) -> Self:
        if result.code is None:
            return cls(mutant=mutant, state="timed out", reason=result.failed, seconds=result.seconds)
        if result.code == 0:
            return cls(mutant=mutant, state="lived", reason=mutant.lives, seconds=result.seconds)
        if result.code == NO_TESTS:
            return cls(mutant=mutant, state="error", reason="no test ran", seconds=result.seconds)
        return cls(mutant=mutant, state="killed", reason=result.failed, seconds=result.seconds)

    @property
    def is_accepted(self) -> bool:
        return self.state in NOTICED or (
            self.state == "lived" and bool(self.mutant.lives) and self.mutant.harm == "report"
        )

    def line(self) -> str:
        reason = self.reason.partition("\n")[0][:120]
        return f"{self.state:9} {self.mutant.name:44} {self.seconds:5.1f} s  {reason}"


def print_summary(verdicts: Sequence[Verdict]) -> int:
    """What is to be repaired, and the numbers; the exit code."""
    refused = [verdict for verdict in verdicts if not verdict.is_accepted]
    for verdict in refused:
        print(
            f"\n{verdict.state} {verdict.mutant.name} ({verdict.mutant.harm}): {verdict.reason or UNNOTICED}"
        )
        print(f"  {verdict.mutant.file}; tests: {' '.join(verdict.mutant.tests)}")
    print(f"\n{numbers(verdicts)}")
    num_lived = sum(verdict.state == "lived" for verdict in verdicts)
    return 1 if refused or num_lived > max(1, MOST_THAT_LIVE * len(verdicts)) else 0


def numbers(verdicts: Sequence[Verdict]) -> str:
    states = Counter(verdict.state for verdict in verdicts)
    seconds = sum(verdict.seconds for verdict in verdicts)
    return (
        f"{len(verdicts)} mutants: {states['killed']} killed, {states['timed out']} timed out, "
        f"{states['lived']} lived, {states['error']} not usable; "
        f"{seconds:.0f} s of CPU"
    )


def write_report(path: Path, verdicts: Sequence[Verdict]) -> None:
    """A table by area, and every mutant that was not killed with its reason."""
    lines = [
        "# Mutants",
        "",
        "Plausible bugs put into the code one at a time, and whether the tests notice; written by `make mutants`.",
        "",
        f"{numbers(verdicts)}.",
        "",
        "Timed out: the tests hang with the bug, and end in a third of the limit without it.",
        "",
        "| area | mutants | killed | timed out | lived | not usable |",
        "|---|---|---|---|---|---|",
    ]
    for area in sorted({verdict.mutant.name.partition("/")[0] for verdict in verdicts}):
        mine = [verdict for verdict in verdicts if verdict.mutant.name.startswith(f"{area}/")]
        states = Counter(verdict.state for verdict in mine)
        counts = (states[state] for state in ("killed", "timed out", "lived", "error"))
        lines.append(f"| {area} | {len(mine)} | {' | '.join(map(str, counts))} |")
    for verdict in verdicts:
        if verdict.state != "killed":
            reason = verdict.reason.partition("\n")[0] or UNNOTICED
            lines += ["", f"- {verdict.state}: `{verdict.mutant.name}` ({verdict.mutant.harm}): {reason}"]
    path.write_text("\n".join(lines) + "\n", "utf-8")
