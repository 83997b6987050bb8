"""What a newcomer sees: the demo's page, opened from disk in a real browser.

DREAMCACHE_DEMO: a folder with the demo's output (`make demo`), which is then looked at instead of generated again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.command import dreamcache

pytestmark = [pytest.mark.browser, pytest.mark.ray]

LOADED = "return [...document.querySelectorAll('main img')].filter((image) => image.naturalWidth > 0).length"


def test_the_demo_shows_every_product_in_every_scene(browser: Any, tmp_path: Path) -> None:
    folder = Path(os.environ.get("DREAMCACHE_DEMO", tmp_path / "demo"))
    done = dreamcache("demo", "--output", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["done"] == report["total"] == 48
    browser.get(Path(report["gallery"]).absolute().as_uri())
    # Images load as they come into view.
    for _ in range(40):
        browser.execute_script("window.scrollBy(0, 500)")
        browser.implicitly_wait(0.1)
    shown = browser.execute_script(LOADED)
    text = browser.find_element("tag name", "body").text
    subjects = {row["subject_id"] for row in _manifest(folder)}
    assert shown >= 24 + 6, f"{shown} images, references among them"
    assert len(subjects) == 8
    assert sum(subject in text for subject in subjects) >= 6


def _manifest(folder: Path) -> list[dict[str, Any]]:
    import jobs

    rows: list[dict[str, Any]] = jobs.outputs(str(folder / "output")).to_pylist()
    return rows
