"""The site: a paragraph for each error code; built without the network, strictly; a newcomer's path; two widths."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from docs.site_hooks import outside_pages, troubleshooting
from tests.browser.conftest import browser
from tests.docs.pages import REPOSITORY, page

__all__ = ["browser"]

BUILD = """
import socket, sys

def refuse(*args, **kwargs):
    raise OSError("the network is off")

socket.socket.connect = socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli(["build", "--strict", "--quiet", "--site-dir", sys.argv[1]])
"""


def test_every_error_code_has_a_paragraph() -> None:
    """The codes of docs/errors.md, which has every code of the code (test_references)."""
    text = troubleshooting((REPOSITORY / "docs/errors.md").read_text("utf-8"))
    headings = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    codes = {span for span in page("docs/errors.md").spans if re.fullmatch(r"[a-z][a-z_0-9]+", span)}
    rows = [
        line for line in (REPOSITORY / "docs/errors.md").read_text("utf-8").splitlines() if line[:3] == "| `"
    ]
    assert headings == {code for row in rows for code in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    assert len(headings & codes) == len(headings) > 80
    assert all(paragraph.count("**What to do:**") == 1 for paragraph in text.split("\n### ")[1:])


def test_linked_pages_outside_docs_are_shown() -> None:
    names = {path.relative_to(REPOSITORY).as_posix() for path in outside_pages()}
    assert {"ARCHITECTURE.md", "CHANGELOG.md", "deploy/README.md", "dreamcache/mini/README.md"} <= names


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.turns(unit="module")
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    loaded = [
        match[0]
        for one in pages
        for match in re.finditer(
            r"<(?:script|img|iframe|link)[^>]+(?:src|href)=\"?https?://[^>]+>", one.read_text()
        )
        if "canonical" not in match[0]
    ]
    assert not loaded
    assert "item_id" in (site / "search/search_index.json").read_text()


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The site on a local server: search works by a worker, which no browser allows on disk."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.turns(unit="module")
@pytest.mark.parametrize("width", [1280, 420])
def test_from_the_front_page_to_the_gallery(browser: Any, address: str, width: int) -> None:
    """Two clicks: the first job, and its gallery. No page is wider than the window."""
    browser.set_window_size(width, 900)
    browser.get(f"{address}/index.html")
    browser.find_element("partial link text", "Your first job").click()
    assert "dreamcache demo" in browser.find_element("tag name", "article").text
    picture = browser.find_element("css selector", "article a > img")
    assert browser.execute_script("return arguments[0].naturalWidth", picture) > 1000
    picture.find_element("xpath", "..").click()
    assert browser.current_url.endswith("gallery.jpg")
    for name in ("index", "manifest", "troubleshooting", "settings", "jobs", "project/deploy/README"):
        browser.get(f"{address}/{name}.html")
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(overflow) <= 0, name
