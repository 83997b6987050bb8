"""What a newcomer sees: the demo's page, opened from disk in a real browser.

DREAMCACHE_DEMO: a folder with the demo's output (`make demo`), which is then looked at instead of generated again.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.command import dreamcache

pytestmark = [pytest.mark.browser, pytest.mark.ray]

LOADED = "return [...document.querySelectorAll('main img')].filter((one) => one.naturalWidth > 0).map((one) => one.src)"


def test_the_demo_shows_every_product_in_every_scene(browser: Any, tmp_path: Path) -> None:
    folder = Path(os.environ.get("DREAMCACHE_DEMO", tmp_path / "demo"))
    done = dreamcache("demo", "--output", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["done"] == report["total"] == 48
    browser.get(Path(report["gallery"]).absolute().as_uri())
    # Rows are on the page while they are near the window, and their images load then.
    shown, text = set[str](), ""
    for _ in range(40):
        browser.execute_script("window.scrollBy(0, 400)")
        time.sleep(0.1)
        shown |= set(browser.execute_script(LOADED))
        text += browser.find_element("tag name", "body").text
    subjects = {row["subject_id"] for row in _manifest(folder)}
    assert len(shown) == 48 + 8, "images and references"
    assert len(subjects) == 8
    assert all(subject in text for subject in subjects)


def _manifest(folder: Path) -> list[dict[str, Any]]:
    import jobs

    rows: list[dict[str, Any]] = jobs.outputs(str(folder / "output")).to_pylist()
    return rows
