"""The gallery in a real headless browser, from disk: it works, is quick, and asks nothing of the network."""

from __future__ import annotations

import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from jobs.gallery import make_thumbnail, write_gallery

pytestmark = pytest.mark.browser

ITEMS, SUBJECTS = 5000, 100
ATTACK = "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>\"'&\u2028水"


def png(hue: int, side: int) -> bytes:
    out = io.BytesIO()
    Image.new("HSV", (side, side), (hue % 256, 120, 220)).convert("RGB").save(out, "PNG")
    return out.getvalue()


def gallery(root: Path, items: int, subjects: int, *, with_images: bool = True) -> Path:
    def write(key: str, data: bytes) -> None:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)

    rows, pictures = [], [png(n * 16, 16) for n in range(16)]
    for n in range(items):
        subject = n * subjects // items
        item_id, status = f"{n * 2654435761 % 2**32:08x}" * 8, "failed" if n % 500 == 7 else "done"
        key = f"images/{item_id[:2]}/{item_id}.png"
        if status == "done" and with_images:
            write(key, pictures[n % 16])
        rows.append({
            "item_id": item_id, "subject_id": f"sku-{subject}" if subject else ATTACK,
            "class_name": ("teapot", "lamp", ATTACK)[subject % 3], "image": f"photos/{subject}.png",
            "prompt": f"scene-{n % 50:02d} {ATTACK}", "sample": 0, "seed": 2**62 + n, "status": status,
            "key": key, "code": "bad_image" if status == "failed" else None,
            "message": ATTACK if status == "failed" else None, "width": 16, "height": 16, "title": ATTACK,
            "image_score": n * 7919 % 10_000 / 10_000,
        })  # fmt: skip
    names = {str(row["subject_id"]) for row in rows}
    thumbnails = {name: make_thumbnail(png(n * 16, 300)) or b"" for n, name in enumerate(sorted(names))}
    manifest = pa.Table.from_pylist(rows)
    return root / write_gallery(manifest=manifest, references=thumbnails, write=write, title=ATTACK)


def wait_for(browser: Any, expression: str, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (value := browser.execute_script(f"return {expression}")):
        assert time.monotonic() < end, f"never true in the page: {expression}"
        time.sleep(0.02)
    return value


def search(browser: Any, text: str) -> None:
    browser.execute_script(
        "const box = document.getElementById('query'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('input'))", text
    )  # fmt: skip


def showing(text: str) -> str:
    return f"document.getElementById('showing').textContent === {json.dumps('Showing ' + text)}"


# Images that lie in the window have pixels, and there are some.
VISIBLE_LOADED = """(() => {
  const seen = [...document.querySelectorAll('main img')].filter((image) => {
    const box = image.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; });
  return seen.length > 5 && seen.every((image) => image.naturalWidth > 0) && seen.length; })()"""


def test_five_thousand_items_from_disk(browser: Any, tmp_path: Path, record_property: Any) -> None:
    page = gallery(tmp_path / "job", ITEMS, SUBJECTS)
    started = time.monotonic()
    browser.get(page.as_uri())
    wait_for(browser, "document.documentElement.dataset.ready")
    record_property("seconds_to_interactive", round(time.monotonic() - started, 2))
    wait_for(browser, VISIBLE_LOADED)
    record_property("seconds_to_images", round(time.monotonic() - started, 2))
    assert browser.execute_script("return document.querySelectorAll('.card').length") < 500

    wait_for(browser, showing("5,000 items of 100 subjects"))
    search(browser, "sku-42")
    wait_for(browser, showing("50 items of 1 subject"))
    assert browser.execute_script("return document.querySelector('h2').textContent") == "sku-42"
    wait_for(browser, VISIBLE_LOADED)
    search(browser, "SKU-42 scene-07")
    wait_for(browser, showing("1 item of 1 subject"))
    search(browser, "no such thing")
    wait_for(browser, "!document.getElementById('empty').hidden")
    search(browser, "")
    wait_for(browser, showing("5,000 items of 100 subjects"))
    browser.find_element("css selector", "[data-status=failed]").click()
    wait_for(browser, showing("10 items of 10 subjects"))
    reason = browser.find_element("css selector", ".reason.failed")
    assert "bad_image" in reason.text and "onerror" in reason.text
    browser.find_element("css selector", "[data-status='']").click()
    browser.execute_script(
        "const list = document.getElementById('class-name'); list.value = 'lamp';"
        "list.dispatchEvent(new Event('change'))"
    )
    wait_for(browser, showing("1,650 items of 33 subjects"))

    browser.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    wait_for(
        browser,
        "document.querySelector('.card[data-item]') && view.items.at(-1) && cardOf(view.items.at(-1))",
    )
    assert browser.execute_script("return document.querySelectorAll('*').length") < 3000
    wait_for(browser, VISIBLE_LOADED)
    assert_clean(browser)


def test_large_view_with_keys_and_copy(browser: Any, tmp_path: Path) -> None:
    browser.get(gallery(tmp_path / "job", 20, 2).as_uri())
    wait_for(browser, "document.documentElement.dataset.ready")
    browser.find_element("css selector", ".tile").click()
    wait_for(browser, "document.getElementById('viewer').open")
    wait_for(browser, "document.querySelector('#stage .side:last-child img').naturalWidth === 16")
    details = browser.find_element("id", "details").text
    assert str(2**62) in details and "scene-00" in details and "0" * 64 in details.replace("\n", "")
    keys = pytest.importorskip("selenium.webdriver").Keys
    browser.switch_to.active_element.send_keys(keys.ARROW_RIGHT)
    assert browser.find_element("id", "position").text == "2 / 20"
    browser.switch_to.active_element.send_keys(keys.ARROW_LEFT, keys.ARROW_LEFT)
    assert browser.find_element("id", "position").text == "20 / 20"
    browser.find_element("css selector", ".copy").click()
    wait_for(browser, "document.querySelector('.copy').textContent === 'Copied'")
    browser.switch_to.active_element.send_keys(keys.ESCAPE)
    wait_for(browser, "!document.getElementById('viewer').open")
    assert_clean(browser)
    browser.execute_script(
        "const node = document.createElement('script'); node.textContent = 'window.pwned = 1';"
        "document.body.append(node)"
    )
    assert browser.execute_script("return window.pwned") is None, "the policy stops inline scripts"


def test_missing_files_are_said(browser: Any, tmp_path: Path) -> None:
    page = gallery(tmp_path / "job", 20, 2)
    shutil.rmtree(tmp_path / "job" / "images")
    browser.get(page.as_uri())
    wait_for(browser, "document.querySelectorAll('.reason.missing').length > 3")
    (page.parent / "data.js").unlink()
    browser.get(page.as_uri())
    assert "data.js is missing" in browser.find_element("id", "empty").text


def assert_clean(browser: Any) -> None:
    """No attack ran, nothing in the console, and every request went to disk."""
    assert browser.execute_script("return window.pwned") is None
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    # Chromium's own start page and the empty icon are no requests.
    assert [url for url in sent if not url.startswith(("file://", "data:", "blob:", "chrome"))] == []
    assert any(url.endswith(".png") for url in sent)
