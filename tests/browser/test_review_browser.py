"""Review in a real headless browser, from disk: decide, undo, reload, hand out, record, retry, export; two tabs."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.config.job import JobSpec
from jobs.output.reader import outputs
from jobs.review.rejected import replace_rejected
from tests.browser.shop import ATTACK, page_of, run, shop
from tests.browser.test_gallery_browser import assert_clean, gallery, wait_for
from tests.command import in_process
from tests.jobs.reviewed import review_file

pytestmark = pytest.mark.browser


def open_page(browser: Any, address: str) -> None:
    browser.get(address)
    wait_for(browser, "document.documentElement.dataset.loaded")


def press(browser: Any, keys: str) -> None:
    browser.switch_to.active_element.send_keys(keys)


def states_of(browser: Any) -> dict[str, str]:
    """Of all items, in the page's order; a mapping would come back sorted."""
    return dict(browser.execute_script("return data.items.map((item) => [item.id, stateOf(item)])"))


def handed_out(browser: Any, folder: Path) -> Path:
    """review.csv as the browser saves it."""
    file = folder / "review.csv"
    file.unlink(missing_ok=True)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    wait_for(browser, "!document.getElementById('hand-out').hidden")  # counts are shown with the next frame
    browser.find_element("id", "hand-out").click()
    end = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < end, "nothing was handed out"
        time.sleep(0.05)
    return file


def test_from_the_page_to_the_next_run(browser: Any, tmp_path: Path) -> None:
    spec = shop(tmp_path / "shop")
    items = run(spec)
    open_page(browser, page_of(spec))
    decide_with_keys(browser, items)
    browser.refresh()
    wait_for(browser, "document.documentElement.dataset.loaded")
    assert list(states_of(browser).values())[:5] == DECIDED
    file = hand_out_as_ana(browser, items, tmp_path)
    new = record_and_run_again(spec, items, file, tmp_path)
    export = in_process("export", spec.output, str(tmp_path / "export"), "--approved", "--json")
    assert json.loads(export.stdout)["written"] == 1
    # The page of the second run: what it has recorded stands, new images are open.
    open_page(browser, page_of(spec))
    states = states_of(browser)
    assert states[items[0]] == "approved" and {states[one] for one in new} == {"pending"}


DECIDED = ["approved", "rejected", "rejected", "rejected", "pending"]


def decide_with_keys(browser: Any, items: list[str]) -> None:
    keys = pytest.importorskip("selenium.webdriver").Keys
    # With keys: approve, reject, undo of the rejection, reject again in the large view, with a reason.
    press(browser, keys.ARROW_RIGHT)
    press(browser, "a")
    press(browser, "r")
    assert list(states_of(browser).values())[:3] == ["approved", "rejected", "pending"]
    press(browser, "u")
    assert list(states_of(browser).values())[:3] == ["approved", "pending", "pending"]
    tile = browser.find_element("css selector", f".card[data-item='{items[1]}'] .tile")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", tile)  # not below a bar
    tile.click()
    wait_for(browser, "document.getElementById('viewer').open")
    assert browser.execute_script("return document.activeElement.id") == "stage", (
        "no keyboard pops up on a phone"
    )
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('#stage .side > :first-child')].map((one) => "
        "[one.getBoundingClientRect().width, one.getBoundingClientRect().height])"
    )
    assert sizes[0] == sizes[1], "the reference is as large as the image"
    press(browser, "r")
    press(browser, "2")
    assert browser.execute_script("return view.items[current].id") == items[2], "a reason leads on"
    press(browser, keys.ESCAPE)
    # In bulk, by subject; a note that a spreadsheet would run.
    browser.execute_script("cursor.set(data.items[2])")
    press(browser, "R")
    browser.execute_script("explain(data.items[2], { note: '=HYPERLINK(\"http://x\")' })")
    assert list(states_of(browser).values())[:5] == DECIDED


def hand_out_as_ana(browser: Any, items: list[str], tmp_path: Path) -> Path:
    keys = pytest.importorskip("selenium.webdriver").Keys
    browser.find_element("id", "hand-out").click()
    assert "name first" in browser.find_element("id", "storage").text
    browser.find_element("id", "reviewer").send_keys("ana" + keys.TAB)
    file = handed_out(browser, tmp_path)
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = {row["item_id"]: row for row in csv.DictReader(lines)}
    assert {items[n]: rows[items[n]]["verdict"] for n in range(4)} == {
        items[0]: "approve", items[1]: "reject", items[2]: "reject", items[3]: "reject",
    }  # fmt: skip
    assert rows[items[1]]["reason"] == "wrong colour" and rows[items[2]]["subject_id"] == ATTACK
    assert rows[items[2]]["note"].startswith("'=HYPERLINK")
    assert_clean(browser)
    return file


def record_and_run_again(spec: JobSpec, items: list[str], file: Path, tmp_path: Path) -> list[str]:
    done = in_process("review", spec.output, str(file), "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["recorded"]) == (0, 4), done.stdout
    assert answer["counts"] == {"approved": 1, "rejected": 3, "conflict": 0, "pending": 4}
    later = review_file(tmp_path, (items[0], "reject", "ben"), name="ben.csv")
    assert "ana approved, ben rejected" in in_process("review", spec.output, later).stdout
    settled = review_file(tmp_path, (items[0], "approve", "lead"), name="lead.csv")
    in_process("review", spec.output, settled, "--final")
    assert replace_rejected(spec.output, []) == 3
    new = run(spec, keep_approved=True)
    assert len(new) == 3 and not set(new) & set(items), "rejected items get new ids"
    assert run(spec, keep_approved=True) == [], "approved ones are not generated again"
    statuses = {row["item_id"]: row["review"] for row in outputs(spec.output).to_pylist()}
    assert statuses == {items[0]: "approved", **dict.fromkeys([*new, *items[4:]], "pending")}
    return new


def test_two_tabs_keep_both_their_verdicts(browser: Any, tmp_path: Path) -> None:
    spec = shop(tmp_path / "shop")
    items = run(spec)
    open_page(browser, page_of(spec))
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    second = browser.current_window_handle
    open_page(browser, page_of(spec))
    browser.execute_script("decide([data.items[0]], 'a')")
    browser.switch_to.window(first)
    wait_for(browser, "stateOf(data.items[0]) === 'approved'")
    browser.execute_script("decide([data.items[1]], 'r')")
    browser.switch_to.window(second)
    wait_for(browser, "stateOf(data.items[1]) === 'rejected'")
    browser.refresh()
    wait_for(browser, "document.documentElement.dataset.loaded")
    assert [states_of(browser)[items[n]] for n in range(3)] == ["approved", "rejected", "pending"]


def test_a_verdict_is_of_the_image_that_is_shown(browser: Any, tmp_path: Path) -> None:
    """Also where the list is sorted anew below the large view; a note that was written before it goes with it."""
    spec = shop(tmp_path / "shop")
    items = run(spec)
    open_page(browser, page_of(spec))
    browser.execute_script("show(data.items[0].shown)")
    note = browser.find_element("id", "note")
    note.send_keys("wrong handle")
    browser.execute_script("byId('stage').focus(); refresh()")
    browser.execute_script("view.items.reverse(); findCurrent()")
    browser.find_element("id", "reject").click()
    states = states_of(browser)
    assert [item for item in items if states[item] != "pending"] == [items[0]]
    assert browser.execute_script("return reasonOf(data.items[0]).note") == "wrong handle"
    assert note.get_attribute("value") == "wrong handle"
    browser.execute_script("show(current + 1)")
    assert note.get_attribute("value") == "", "it does not go on to the next image"


def test_people_who_share_a_browser(browser: Any, tmp_path: Path) -> None:
    keys = pytest.importorskip("selenium.webdriver").Keys
    spec = shop(tmp_path / "shop")
    items = run(spec)
    open_page(browser, page_of(spec))
    name = browser.find_element("id", "reviewer")
    name.send_keys("ana" + keys.TAB)
    browser.execute_script("decide([data.items[0]], 'r')")
    browser.refresh()
    wait_for(browser, "document.documentElement.dataset.loaded")
    name = browser.find_element("id", "reviewer")
    name.clear()
    name.send_keys("bo" + keys.TAB)
    browser.execute_script("decide([data.items[1]], 'a')")
    with handed_out(browser, tmp_path).open(encoding="utf-8-sig", newline="") as lines:
        assert {row["item_id"]: row["reviewer"] for row in csv.DictReader(lines)} == {
            items[0]: "ana",
            items[1]: "bo",
        }


def test_filters_and_sort_stand_in_the_address(browser: Any, tmp_path: Path) -> None:
    spec = shop(tmp_path / "shop")
    items = run(spec)
    open_page(browser, page_of(spec))
    browser.execute_script("decide([data.items[0], data.items[1]], 'r')")
    for control, value in (("column", "colour"), ("value", "red")):
        browser.execute_script(
            "const box = document.getElementById(arguments[0]); box.value = arguments[1];"
            "box.dispatchEvent(new Event('change'))", control, value
        )  # fmt: skip
    browser.find_element("css selector", "[data-review=rejected]").click()
    wait_for(browser, "view.items.length === 2")
    address = browser.current_url
    assert "column=colour" in address and "value=red" in address and "review=rejected" in address
    browser.get("about:blank")
    open_page(browser, f"{address}&item={items[1]}")
    wait_for(browser, "view.items.length === 2 && document.getElementById('viewer').open")
    assert browser.execute_script("return view.items[current].id") == items[1]
    wait_for(
        browser, "document.querySelector('[data-review=rejected]').getAttribute('aria-pressed') === 'true'"
    )


def test_fifty_thousand_items(browser: Any, tmp_path: Path, record_property: Any) -> None:
    page = gallery(tmp_path / "job", 50_000, 1000, with_images=False)
    started = time.monotonic()
    browser.get(page.as_uri())
    wait_for(browser, "document.documentElement.dataset.ready")
    record_property("seconds_to_interactive", round(time.monotonic() - started, 2))
    wait_for(browser, "document.documentElement.dataset.loaded", 60)
    record_property("seconds_to_all", round(time.monotonic() - started, 2))
    nodes = browser.execute_script("return document.querySelectorAll('*').length")
    record_property("nodes", nodes)
    assert nodes < 3000
    milliseconds = browser.execute_script(
        "const began = performance.now(); view.sort = '-image_score'; refresh(); const sorted = performance.now();"
        "decide(data.items.slice(0, 50), 'a'); const decided = performance.now();"
        "window.scrollTo(0, 400000); renderWindow();"
        "return [sorted - began, decided - sorted, performance.now() - decided].map(Math.round)"
    )
    record_property("milliseconds_sort_decide_scroll", milliseconds)
    assert browser.execute_script("return document.querySelectorAll('.card').length") < 300
    scores = browser.execute_script("return view.items.slice(0, 3).map((item) => item.scores[0])")
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.9
    full = browser.execute_script(
        "decide(data.items, 'r'); return [review.storage, local.size, localStorage.length]"
    )
    assert full[0] == "" and full[1] == full[2] > 49_000, "the verdicts of all fit into the browser's storage"


def test_a_conflict_is_shown_to_who_is_part_of_it(browser: Any, tmp_path: Path) -> None:
    spec = shop(tmp_path / "shop")
    items = run(spec)
    keys = pytest.importorskip("selenium.webdriver").Keys
    open_page(browser, page_of(spec))
    browser.find_element("id", "reviewer").send_keys("ana" + keys.TAB)
    browser.execute_script("decide([data.items[0]], 'a')")
    in_process("review", spec.output, str(handed_out(browser, tmp_path)))
    in_process(
        "review", spec.output, review_file(tmp_path, (items[0], "reject", "ben", "artifacts"), name="ben.csv")
    )
    run(spec)
    open_page(browser, page_of(spec))
    assert states_of(browser)[items[0]] == "conflict"
    browser.find_element("css selector", "[data-review=conflict]").click()
    wait_for(browser, "view.items.length === 1")
    assert "ana, ben: conflict" in browser.find_element("css selector", ".card .verdict").text
    browser.execute_script("decide([data.items[0]], 'r')")
    assert states_of(browser)[items[0]] == "rejected", "a later decision of one's own counts"
    in_process("review", spec.output, str(handed_out(browser, tmp_path)))
    assert {row["review"] for row in outputs(spec.output).to_pylist() if row["item_id"] == items[0]} == {
        "rejected"
    }
