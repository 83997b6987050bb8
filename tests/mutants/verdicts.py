"""Verdicts on disk, a line of JSON each, so that a run that was cut short resumes: `--resume FILE`.

A verdict counts while the mutant, the file that it changes and the files of its tests are what they were. Knows files;
knows nothing of how tests are run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from tests.mutants.patches import Mutant
from tests.mutants.report import Verdict


class VerdictFile:
    """The verdicts of earlier runs, and where those of this run are added. path: may not exist yet."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root

    def read(self, mutants: Sequence[Mutant]) -> dict[str, Verdict]:
        """By name, the latest verdict on each of these mutants that still counts."""
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        entries = {entry["of"]: entry for entry in map(json.loads, lines)}
        return {
            mutant.name: Verdict(
                mutant=mutant, state=entry["state"], reason=entry["reason"], seconds=entry["seconds"]
            )
            for mutant in mutants
            if (entry := entries.get(self.fingerprint(mutant))) is not None
        }

    def add(self, verdict: Verdict) -> None:
        entry = {
            "name": verdict.mutant.name,
            "of": self.fingerprint(verdict.mutant),
            "state": verdict.state,
            "reason": verdict.reason,
            "seconds": round(verdict.seconds, 1),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def fingerprint(self, mutant: Mutant) -> str:
        """Changes with the mutant, with its file and with the files of its tests."""
        paths = sorted({mutant.file, *(test.partition("::")[0] for test in mutant.tests)})
        texts = [(self.root / path).read_text("utf-8") for path in paths if (self.root / path).is_file()]
        return sha256(json.dumps([asdict(mutant), texts]).encode()).hexdigest()
