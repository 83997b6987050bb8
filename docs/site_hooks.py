"""What `mkdocs build` does beyond its own: pages of the repository outside docs/, and a paragraph for each error code.

    links of docs/*.md --outside--> project/<path>, and their links in turn     docs/errors.md --> troubleshooting.md

Knows Markdown links and the table of error codes; knows nothing of the product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
ADDED = "project"
"""The site's folder of pages that lie outside docs/."""
ALWAYS = (
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    "dreamcache/mini/README.md",
)
SHOWN = (".md", ".jpg", ".png", ".svg")
TROUBLESHOOTING = "troubleshooting.md"
LINK = re.compile(r"(?P<text>!?\[[^\]\n]*\])\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")
TITLE = """# Troubleshooting

Every error has a code. Search for it, or look at the end of the message, and in the column `code` of the manifest
and of `failed.csv`. `dreamcache retry job.yaml --reason CODE` tries its items again after the fix.
"""


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages outside docs/ that a page links to, and the troubleshooting page."""
    from mkdocs.structure.files import File

    for path in outside_pages():
        uri = f"{ADDED}/{path.relative_to(REPOSITORY).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    text = troubleshooting((DOCS / "errors.md").read_text("utf-8"))
    files.append(File.generated(config, TROUBLESHOOTING, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that lead out of docs/ lead to the added page, or become the file's name."""
    uri: str = page.file.src_uri
    source = REPOSITORY / uri.removeprefix(f"{ADDED}/") if uri.startswith(f"{ADDED}/") else DOCS / uri
    return LINK.sub(lambda match: _link(match, source.parent, Path(uri).parent), markdown)


def outside_pages() -> list[Path]:
    """Files outside docs/ that the site shows: linked from its pages, directly or through each other."""
    waiting = [*sorted(DOCS.rglob("*.md")), *(REPOSITORY / name for name in ALWAYS)]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        for target in _targets(page):
            if target not in seen and target.suffix in SHOWN:
                seen.add(target)
                if target.suffix == ".md":
                    waiting.append(target)
    return sorted(path for path in seen if not path.is_relative_to(DOCS))


def troubleshooting(errors: str) -> str:
    """A heading and a paragraph for each code of docs/errors.md, in the order of its tables."""
    sections, seen = [TITLE], set()
    for heading, codes, meaning, remedy in _rows(errors):
        if heading not in seen:
            seen.add(heading)
            sections.append(f"## {heading}\n")
        for code in codes:
            also = [f"`{other}`" for other in codes if other != code]
            alike = f" The same remedy is that of {', '.join(also)}." if also else ""
            sections.append(
                f"### {code}\n\n{_sentence(meaning)}\n\n**What to do:** {_sentence(remedy)}{alike}\n"
            )
    return "\n".join(sections)


def _rows(errors: str) -> Iterator[tuple[str, list[str], str, str]]:
    """(heading, codes, meaning, what to do) of every row of the tables."""
    heading = ""
    for line in errors.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("| `"):
            codes, meaning, remedy = (cell.strip() for cell in line.strip("|").split(" | "))
            yield heading, re.findall(r"`([^`]+)`", codes), meaning, remedy


def _sentence(text: str) -> str:
    text = text.strip(" |")
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ")")) else ".")


def _targets(page: Path) -> Iterator[Path]:
    for match in LINK.finditer(page.read_text("utf-8")):
        path = (page.parent / match["target"]).resolve()
        if path.is_dir():
            path = path / "README.md"
        if path.is_file() and path.is_relative_to(REPOSITORY):
            yield path


def _link(match: re.Match[str], source: Path, folder: Path) -> str:
    """source: the folder of the page in the repository; folder: in the site."""
    if re.match(r"[a-z]+:", match["target"]):
        return match[0]
    path = (source / match["target"]).resolve()
    if path.is_dir() and (path / "README.md").is_file():
        path = path / "README.md"
    if not path.exists() or (path.is_relative_to(DOCS) and source.is_relative_to(DOCS)):
        return match[0]
    if path.is_relative_to(DOCS):
        uri = path.relative_to(DOCS)
    elif path.suffix in SHOWN:
        uri = Path(ADDED) / path.relative_to(REPOSITORY)
    else:
        return f"`{path.relative_to(REPOSITORY).as_posix()}`"
    up = "../" * len(folder.parts)
    return f"{match['text']}({up}{uri.as_posix()}{match['anchor'] or ''})"
