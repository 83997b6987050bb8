"""`gallery --serve` in a browser: verdicts are recorded as they are given, by two tabs; another site is refused."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dreamcache.storage.reviews import Reviews
from tests.browser.shop import run, shop
from tests.browser.test_gallery_browser import wait_for
from tests.command import COMMAND, environment

pytestmark = pytest.mark.browser

ATTACK = """<!doctype html><script>
const body = JSON.stringify({ verdicts: [{ item_id: "%s", verdict: "reject", reviewer: "eve" }] });
const tries = [{ mode: "no-cors" }, { headers: { "content-type": "application/json", "x-dreamcache-review": "1" } }];
const target = "%s/api/verdicts", common = { method: "POST", credentials: "include", body };
Promise.allSettled(tries.map((more) => fetch(target, { ...common, ...more })))
  .then(() => { document.title = "tried"; });
</script>"""


@contextmanager
def serving(output: str) -> Iterator[str]:
    """The address that the command prints."""
    with subprocess.Popen(
        [COMMAND, "gallery", output, "--serve", "--reviewer", "ana"],
        stdout=subprocess.PIPE, text=True, env=environment({"PYTHONUNBUFFERED": "1"}),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("review at http://127.0.0.1:"), line
        try:
            yield line.removeprefix("review at ").strip()
        finally:
            process.terminate()  # a background shell makes its children ignore SIGINT
            assert process.wait(20) == 0


@contextmanager
def other_site(page: str) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}/"
        server.shutdown()


def decided(output: str) -> dict[str, str]:
    return {item: one.state for item, one in Reviews(output).standings().items()}


def wait_until(output: str, expected: dict[str, str]) -> None:
    end = time.monotonic() + 20
    while decided(output) != expected:
        assert time.monotonic() < end, decided(output)
        time.sleep(0.1)


def test_verdicts_go_straight_into_the_log(browser: Any, tmp_path: Path) -> None:
    spec = shop(tmp_path / "shop")
    items = run(spec)
    with serving(spec.output) as address:
        browser.get(address)
        wait_for(browser, "document.documentElement.dataset.loaded")
        assert "#" not in browser.current_url and "/gallery/index.html" in browser.current_url
        wait_for(browser, "document.querySelector('main img').naturalWidth > 0")
        wait_for(browser, "review.reviewer === 'ana'")
        browser.find_element("css selector", f".card[data-item='{items[0]}'] [data-decide=a]").click()
        wait_until(spec.output, {items[0]: "approved"})
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        browser.get(address.partition("#")[0] + "gallery/index.html")  # the cookie is the browser's
        wait_for(browser, "document.documentElement.dataset.loaded")
        browser.execute_script("decide([data.items[1]], 'r', { reason: 'artifacts' })")
        browser.switch_to.window(first)
        browser.execute_script("decide([data.items[2]], 'a'); decide([data.items[0]], 'r'); undo();")
        wait_until(spec.output, {items[0]: "approved", items[1]: "rejected", items[2]: "approved"})
        wait_for(browser, "stateOf(data.items[1]) === 'rejected'")
        wait_for(browser, "document.getElementById('sync').textContent === 'Saved'")
        browser.refresh()
        wait_for(browser, "document.documentElement.dataset.loaded && stateOf(data.items[2]) === 'approved'")

        page = ATTACK % (items[3], address.partition("/#")[0])
        with other_site(page) as site:
            browser.get(site)
            wait_for(browser, "document.title === 'tried'")
        browser.get(f"{address.partition('#')[0]}#wrong-token")
        wait_for(browser, "document.body.textContent.includes('Wrong token')")
        expected = {items[0]: "approved", items[1]: "rejected", items[2]: "approved"}
        assert json.dumps(decided(spec.output), sort_keys=True) == json.dumps(expected, sort_keys=True)
