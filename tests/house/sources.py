"""Measures of the sources: long files and functions, words that the style bans, references that lead nowhere.

Each measure is a mapping from what it counts to a number, so that it can be compared with `ceilings.json`. Knows
texts and syntax trees; imports nothing of the project.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("dreamcache", "workers", "jobs", "recipes", "tests")
PRODUCT = ("dreamcache", "workers", "jobs", "recipes")
TEXTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs")
"""Not CHANGELOG.md: what it names was there at the time."""

MOST_LINES = 300
MOST_FUNCTION_LINES = 40
BANNED = {
    "told": r"told|tells?",
    "drawn": r"drawn|draws",
    "in hand": r"in[ _]hand",
    "gone on": r"gone[ _]on|goes[ _]on|going[ _]on",
    "fruitless": r"fruitless",
    "condemned": r"condemn(?:ed|s)?",
    "farewell": r"farewell",
    "stranger": r"strangers?",
    "patience": r"patience|patient",
    "mend": r"mend(?:ed|s)?",
    "be rid of": r"be rid of",
    "hangs on": r"hangs? on",
    "METHOD": r"METHOD(?:\.md)? sections?",
}
"""Private words of this project, each with a pattern; CONTRIBUTING names the field's terms."""

FILE = re.compile(r"(?<![\w/.*-])((?:[\w-]+/)*[\w-]+\.py|docs/[\w/-]+\.(?:md|svg|png|jpg))(?![\w/*])")
SEE = re.compile(r"\b[Ss]ee\s+`([A-Za-z_][\w.]*)`")
DOTTED = re.compile(r"(?<!`)`([a-z_]\w*(?:\.[A-Za-z_]\w*)+)`(?!`)")


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def texts() -> list[Path]:
    """The documents for people."""
    paths = [ROOT / name for name in TEXTS]
    return sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*.md")))


def long_files() -> dict[str, int]:
    """Lines by file, of those over the limit."""
    lines = {name_of(path): read(path).count("\n") for package in PACKAGES for path in files(package)}
    return {name: count for name, count in lines.items() if count > MOST_LINES}


def long_functions() -> dict[str, int]:
    """Lines by `<package>: <function>`, of those over the limit; without the file, so that they may move."""
    longest: dict[str, int] = {}
    for package in PACKAGES:
        for path in files(package):
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = (node.end_lineno or 0) - node.lineno + 1
                    if lines > MOST_FUNCTION_LINES:
                        name = f"{package}: {node.name}"
                        longest[name] = max(lines, longest.get(name, 0))
    return longest


def banned_words() -> dict[str, int]:
    """Occurrences by `<package>: <word>`, in names, docstrings, comments, messages and documents."""
    counts: Counter[str] = Counter()
    patterns = {word: re.compile(rf"(?<![A-Za-z])(?:{each})(?![A-Za-z])") for word, each in BANNED.items()}
    groups = {package: files(package) for package in PACKAGES} | {"docs": texts()}
    for group, paths in groups.items():
        for path in paths:
            if path.parent != Path(__file__).parent:
                for word, pattern in patterns.items():
                    counts[f"{group}: {word}"] += len(pattern.findall(read(path)))
    return {name: count for name, count in counts.items() if count}


def dead_references() -> dict[str, int]:
    """Occurrences by `<file>: <reference>` of files and names that do not exist. Documents: tests/docs."""
    counts: Counter[str] = Counter()
    for package in PRODUCT:
        for path in files(package):
            counts.update(f"{name_of(path)}: {reference}" for reference in _dead_in_code(path))
    return dict(counts)


def _dead_in_code(path: Path) -> Iterator[str]:
    text = prose_of(path)
    yield from (file for file in FILE.findall(text) if not _is_file(file))
    yield from (name for name in SEE.findall(text) if not _is_known(name))
    for name in DOTTED.findall(text):
        is_ours = name.partition(".")[0] in modules() and not name.endswith(".safetensors")
        if is_ours and not _is_file(name) and not _is_known(name):
            yield name


def prose_of(path: Path) -> str:
    """Docstrings and comments."""
    strings = [
        node.value.value
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    comments = [line.partition("# ")[2] for line in read(path).splitlines() if line.lstrip().startswith("# ")]
    return "\n".join([*strings, *comments])


def _is_file(reference: str) -> bool:
    return any(name == reference or name.endswith(f"/{reference}") for name in repository())


def _is_known(name: str) -> bool:
    return all(part in modules() or part in defined() for part in name.split("."))


@cache
def repository() -> frozenset[str]:
    """Files with an ending, below the parts of the repository that people write."""
    roots = (*PACKAGES, "docs", "deploy")
    nested = (path for root in roots for path in (ROOT / root).rglob("*.*"))
    return frozenset(name_of(path) for path in [*nested, *ROOT.glob("*.*")])


@cache
def modules() -> frozenset[str]:
    """Names of our modules and packages, without what stands before them."""
    paths = [path for package in PRODUCT for path in files(package)]
    names = {path.parent.name if path.stem == "__init__" else path.stem for path in paths}
    return frozenset(names)


@cache
def defined() -> frozenset[str]:
    """Every name that the product defines: functions, classes, arguments, variables and attributes."""
    names: set[str] = set()
    for package in PRODUCT:
        for path in files(package):
            for node in ast.walk(tree_of(path)):
                match node:
                    case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                        names.add(name)
                    case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                        names.add(name)
    return frozenset(names)


@cache
def read(path: Path) -> str:
    return path.read_text("utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(read(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
