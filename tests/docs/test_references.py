"""What a page names exists: links, anchors, files, functions, error codes; and what the code says of pages is true."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from dreamcache.evaluation.report import PUBLISHED, PUBLISHED_MASKED
from dreamcache.segment import REASONS
from tests.docs.pages import FOLDERS, REPOSITORY, Page, page, pages

CODE = ("dreamcache", "jobs", "workers")
MAX_WORDS = 30
CONSTANT_CODES = ("LOW_QUALITY", "NO_REFERENCE_SEGMENT", "OUT_OF_MEMORY", "PIPELINE_LOST")
"""Codes that are constants where they are raised."""
each_page = pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)


@each_page
def test_links_and_anchors(one: Page) -> None:
    broken = []
    for link in one.links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (one.path.parent / target).resolve() if target else one.path
        if not path.exists():
            broken.append(link)
        elif anchor and anchor not in page(path.relative_to(REPOSITORY).as_posix()).anchors:
            broken.append(link)
    assert not broken


@each_page
def test_files_and_functions_that_are_named(one: Page) -> None:
    missing = []
    for span in one.spans:
        name, _, symbol = span.partition("::")
        if not re.fullmatch(r"\.?[\w.-]+(/[\w.-]+)*/?", name):
            continue
        if "/" not in name:
            if name.endswith(".py") and name not in _file_names():
                missing.append(span)
            continue
        roots = [root for root in (REPOSITORY, one.path.parent) if (root / name.split("/")[0]).exists()]
        matches = [root / name for root in roots if (root / name).exists()]
        if (roots and not matches) or (symbol and symbol not in _names(matches[0])):
            missing.append(span)
    assert not missing


def test_decisions_are_numbered_listed_and_complete() -> None:
    decisions = [one for one in pages() if re.match(r"docs/decisions/\d", one.name)]
    numbers = [int(one.path.name[:4]) for one in decisions]
    assert numbers == list(range(1, len(numbers) + 1))
    index = page("docs/decisions/README.md")
    assert [one.path.name for one in decisions] == list(index.links)
    for one in decisions:
        assert one.anchors[1:] == ("context", "decision", "consequences", "rejected"), one.name
        assert re.search(r"^20\d\d-\d\d-\d\d$", one.path.read_text("utf-8"), re.MULTILINE), one.name


def test_the_readme_names_every_page() -> None:
    names = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").glob("*.md")}
    of_another_page = {"docs/ablations.md", "docs/dreambench-mini.md"}
    assert names - of_another_page <= set(page("README.md").links)


def test_the_glossary_is_short() -> None:
    rows = [
        line for line in (REPOSITORY / "docs/glossary.md").read_text("utf-8").splitlines() if line[:2] == "| "
    ]
    words = [row.split("|")[1].strip() for row in rows[1:]]
    assert len(words) == len(set(words))
    assert len(words) <= MAX_WORDS


def test_published_numbers_are_those_of_the_code() -> None:
    text = (REPOSITORY / "docs/method.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line[:2] == "| "
    ]
    for name, values in PUBLISHED.items():
        method, base = name.removesuffix(")").split(" (")
        assert [method, base, *(f"{values[key]:.3f}" for key in ("dino", "clip_i", "clip_t"))] in rows
    for name, values in PUBLISHED_MASKED.items():
        assert [name, f"{values['mclip_i']:.3f}", f"{values['mdino']:.3f}"] in rows


def test_every_error_code_is_explained() -> None:
    explained = set(page("docs/errors.md").spans)
    raised = {code for path in _sources() for code in _codes(path)}
    # The other direction would need every code to be a literal: some are computed by storage and image readers.
    assert not raised - explained - set(REASONS)


def test_pages_that_the_code_names() -> None:
    sections = {anchor.split("-")[0] for anchor in page("docs/method.md").anchors}
    wrong = []
    # tests/house names a page that is missing on purpose.
    tests = (path for path in (REPOSITORY / "tests").rglob("*.py") if "house" not in path.parts)
    for path in (*_sources(), *tests, *(REPOSITORY / "recipes").rglob("*.py")):
        text = path.read_text("utf-8")
        for name in re.findall(r"\b(?:docs|deploy)/[\w/-]+\.md\b|\b(?!LICENSE)[A-Z]{4,}\.md\b", text):
            if not (REPOSITORY / name).exists():
                wrong.append(f"{path}: {name}")
        for section in re.findall(r"method\.md,? sections? ([\d.]*\d)", text):
            if section.replace(".", "") not in sections:
                wrong.append(f"{path}: section {section}")
    assert not wrong


def _sources() -> list[Path]:
    return [path for folder in CODE for path in sorted((REPOSITORY / folder).rglob("*.py"))]


@cache
def _file_names() -> frozenset[str]:
    """Names of all Python files of the repository, tests and recipes included."""
    return frozenset(path.name for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py"))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _names(path: Path) -> set[str]:
    """Functions, classes and constants that a module defines, at any depth."""
    kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(_tree(path)) if isinstance(node, kinds)}


def _codes(path: Path) -> Iterator[str]:
    """Error codes that stand in a module as literals: `code="..."`, a class's `code = "..."`, a constant."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.keyword) and node.arg == "code":
            value: ast.expr | None = node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value if node.targets[0].id in ("code", *CONSTANT_CODES) else None
        else:
            continue
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value
