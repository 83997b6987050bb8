"""The Markdown pages of the repository, read into links, headings and code.

Knows Markdown and where pages are; knows nothing of what they say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("docs", "deploy", "dreamcache", "jobs", "recipes", "tests", "workers")
GENERATED = REPOSITORY / "docs/settings.md"
"""Written by a command, whose own test keeps it current."""
SHELL = ("sh", "bash", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced or indented block. language: "" for an indented block."""

    language: str
    text: str
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """anchors: of the headings, as GitHub forms them. spans: inline code. links: targets of links and images."""

    path: Path
    anchors: tuple[str, ...]
    links: tuple[str, ...]
    spans: tuple[str, ...]
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        return self.path.relative_to(REPOSITORY).as_posix()


@cache
def pages() -> tuple[Page, ...]:
    """Every page, the root's first."""
    below = (path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.md")))
    return tuple(_read(path) for path in (*sorted(REPOSITORY.glob("*.md")), *below))


def page(name: str) -> Page:
    """The page at this path of the repository."""
    (match,) = [candidate for candidate in pages() if candidate.name == name]
    return match


def blocks(*languages: str) -> list[tuple[str, Block]]:
    """(page and line, block) of every block in one of the languages."""
    return [
        (f"{one.name}:{block.line}", block)
        for one in pages()
        for block in one.blocks
        if block.language in languages
    ]


def _read(path: Path) -> Page:
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))
    inline = [child for token in tokens for child in token.children or ()]
    targets = [str(child.attrs.get("href") or child.attrs.get("src") or "") for child in inline]
    return Page(
        path=path,
        anchors=tuple(_anchors(tokens)),
        links=tuple(target for target in targets if target),
        spans=tuple(child.content for child in inline if child.type == "code_inline"),
        blocks=tuple(
            Block(language=token.info.strip(), text=token.content, line=(token.map or [0])[0] + 1)
            for token in tokens
            if token.type in ("fence", "code_block")
        ),
    )


def _anchors(tokens: list[Token]) -> Iterator[str]:
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            text = re.sub(r"[`*\[\]]|\]\([^)]*\)", "", token.content).lower()
            yield re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
