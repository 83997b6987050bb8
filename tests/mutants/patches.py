"""Mutants as data: one plausible bug each, as an exact piece of code, what replaces it, and the tests that must fail.

    patches/<area>.toml --read_mutants--> Mutant --apply--> the text of the file with the bug in it

Knows files and texts; knows nothing of how tests are run.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

FOLDER = Path(__file__).parent / "patches"
PRODUCT = ("dreamcache", "workers", "jobs")
TENTHS = 10

Harm = Literal["data", "record", "image", "report"]
"""What the bug would do: lose or corrupt data, record something false, change an image, report something false."""


class MutantError(ValueError):
    """A mutant that cannot be used as it is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """file: relative to the repository; old: occurs there exactly once; tests: pytest ids that must fail.

    lives: why no test can fail, "" where one must. For reports only: a mutant that lives may harm nothing else.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    harm: Harm
    lives: str = ""

    def __post_init__(self) -> None:
        if self.harm not in get_args(Harm):
            raise MutantError(f"{self.name}: harm must be one of {get_args(Harm)}, got {self.harm!r}")
        if not self.tests or not self.old or self.old == self.new:
            raise MutantError(f"{self.name}: needs tests, a text to replace and another text")

    def apply(self, root: Path) -> str:
        """The file's text with the bug. MutantError, with the files that do hold the text, when it does not apply."""
        path = root / self.file
        text = path.read_text("utf-8") if path.is_file() else ""
        if text.count(self.old) == 1:
            return text.replace(self.old, self.new)
        state = f"holds the text {text.count(self.old)} times" if path.is_file() else "does not exist"
        elsewhere = [file for file, count in occurrences(root, self.old).items() if count == 1]
        hint = f"; it is in {', '.join(elsewhere)}" if elsewhere else ""
        raise MutantError(f"{self.name}: {self.file} {state}, must hold it once{hint}:\n{self.old}")


def read_mutants(folder: Path = FOLDER) -> list[Mutant]:
    """All mutants, sorted by name `<area>/<name>`. MutantError for a name that occurs twice."""
    mutants = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text("utf-8"))["mutant"]:
            values = {**entry, "name": f"{path.stem}/{entry['name']}", "tests": tuple(entry["tests"])}
            mutants.append(Mutant(**values))
    names = [mutant.name for mutant in mutants]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise MutantError(f"mutants need different names, got twice: {', '.join(repeated)}")
    return sorted(mutants, key=lambda mutant: mutant.name)


def tenth_of(mutants: list[Mutant], commit: str) -> list[Mutant]:
    """Every tenth mutant; the commit decides where the counting starts."""
    return mutants[int(sha256(commit.encode()).hexdigest(), 16) % TENTHS :: TENTHS]


def occurrences(root: Path, text: str) -> dict[str, int]:
    """How often each product file holds the text; files without it are left out."""
    counts = {
        str(path.relative_to(root)): path.read_text("utf-8").count(text)
        for package in PRODUCT
        for path in sorted((root / package).rglob("*.py"))
    }
    return {file: count for file, count in counts.items() if count}


def missing_tests(root: Path, mutant: Mutant) -> list[str]:
    """The ids of `tests` whose file or function does not exist. Parameters are not looked at."""
    return [test for test in mutant.tests if not _exists(root, test)]


def _exists(root: Path, test: str) -> bool:
    file, _, rest = test.partition("::")
    path = root / file
    if not rest or not path.is_file():
        return path.exists()
    function = rest.partition("[")[0].rpartition("::")[2]
    return f"def {function}(" in path.read_text("utf-8")
