"""`gallery --serve`: who is let in and who is refused, what is served, verdicts of two pages; local and S3."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.reviews import Reviews
from jobs.review import serve as serving
from jobs.review.guard import Guard
from jobs.review.serve import serve
from tests.command import in_process
from tests.jobs.reviewed import generate, review_file

MakeSpec = Callable[..., JobSpec]
OURS = {"X-DreamCache-Review": "1", "Content-Type": "application/json"}


@dataclass
class Client:
    """Requests of one browser."""

    port: int
    token: str
    cookie: str = ""

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Cookie": self.cookie, **(OURS if body is not None else {}), **(headers or {})}
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        connection.request(
            method, path, data, {name: value for name, value in sent.items() if value or name == "Host"}
        )
        answer = connection.getresponse()
        result = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return result

    def enter(self) -> Client:
        status, headers, _ = self.ask("POST", "/api/session", {"token": self.token})
        assert status == 200
        assert "HttpOnly" in headers["set-cookie"] and "SameSite=Strict" in headers["set-cookie"]
        return Client(self.port, self.token, headers["set-cookie"].partition(";")[0])

    def decide(self, item: str, verdict: str, reviewer: str = "ana", **more: str) -> dict[str, Any]:
        row = {"item_id": item, "verdict": verdict, "reviewer": reviewer, **more}
        status, _, body = self.ask("POST", "/api/verdicts", {"verdicts": [row]})
        assert status == 200, body
        loaded: dict[str, Any] = json.loads(body)
        return loaded


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Client]]:
    """start(output) -> a client of a server that runs in a thread of this process."""
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None], threading.Thread]] = []

    def run_in_loop(coroutine: Any) -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(coroutine)
        running.append((loop, task, threading.current_thread()))
        with suppress(asyncio.CancelledError):  # as the test ends it
            loop.run_until_complete(task)
        loop.close()

    def begin(output: str) -> Client:
        ready, addresses = threading.Event(), list[str]()
        monkeypatch.setattr(serving.asyncio, "run", run_in_loop)

        def on_ready(address: str) -> None:
            addresses.append(address)
            ready.set()

        threading.Thread(target=serve, args=(output,), kwargs={"on_ready": on_ready}, daemon=True).start()
        assert ready.wait(20)
        address, token = addresses[0].split("/#")
        assert address.startswith("http://127.0.0.1:"), "loopback by default"
        return Client(int(address.rpartition(":")[2]), token)

    yield begin
    for loop, task, thread in running:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


def test_who_is_refused(make_spec: MakeSpec, start: Callable[[str], Client]) -> None:
    spec = make_spec()
    item, *_ = generate(spec)
    outside = start(spec.output)
    status, headers, body = outside.ask("GET", "/")
    assert status == 200 and b"job" not in body.lower(), "the entrance says nothing of the job"
    assert "default-src 'none'" in headers["content-security-policy"]
    for token in ("", outside.token[:-1], outside.token + "x", "é", 7, None):
        assert outside.ask("POST", "/api/session", {"token": token})[0] == 403
    for path in (
        "/gallery/index.html",
        "/gallery/data.js",
        f"/images/{item[:2]}/{item}.png",
        "/api/verdicts",
        "/x",
    ):
        assert outside.ask("GET", path)[0] == 401, path
        assert Client(outside.port, "", f"dreamcache_review_{outside.port}=wrong").ask("GET", path)[0] == 401
    assert outside.ask("POST", "/api/verdicts", {"verdicts": []})[0] == 401


def test_a_link_is_not_followed_and_half_a_character_costs_nothing(
    make_spec: MakeSpec, start: Callable[[str], Client]
) -> None:
    spec = make_spec()
    item, other, *_ = generate(spec)
    inside = start(spec.output).enter()
    file = Path(spec.output) / f"images/{item[:2]}/{item}.png"
    file.unlink()
    file.symlink_to("/etc/hostname")
    assert inside.ask("GET", f"/images/{item[:2]}/{item}.png")[0] == 404
    rows = [
        {"item_id": one, "verdict": "approve", "reviewer": "ana", "note": "\ud83d"} for one in (item, other)
    ]
    status, _, body = inside.ask("POST", "/api/verdicts", {"verdicts": rows})
    assert status == 200 and json.loads(body)["recorded"] == 2


def test_a_foreign_host_or_page_is_refused(make_spec: MakeSpec, start: Callable[[str], Client]) -> None:
    spec = make_spec()
    item, *_ = generate(spec)
    inside = start(spec.output).enter()
    port = inside.port
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1:1",
        "127.0.0.1.evil.example",
        "",
        "a:b:c",
    ):
        for path in ("/", "/gallery/index.html", "/api/verdicts"):
            assert inside.ask("GET", path, headers={"Host": host})[0] in (400, 421), host
    row = {"verdicts": [{"item_id": item, "verdict": "approve", "reviewer": "ana"}]}
    for headers in (
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": f"http://localhost:{port}"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"X-DreamCache-Review": ""},
        {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"},
    ):  # fmt: skip
        assert inside.ask("POST", "/api/verdicts", row, headers)[0] in (403, 415), headers
    assert Reviews(spec.output).version() == ""
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
    assert inside.ask("POST", "/api/verdicts", row, own)[0] == 200


def test_what_is_served_and_what_is_not(make_spec: MakeSpec, start: Callable[[str], Client]) -> None:
    spec = make_spec()
    item, *_ = generate(spec)
    inside = start(spec.output).enter()
    status, headers, page = inside.ask("GET", "/gallery/index.html")
    assert status == 200 and headers["content-type"].startswith("text/html") and b"connect-src 'self'" in page
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    status, headers, data = inside.ask("GET", f"/images/{item[:2]}/{item}.png")
    assert (status, headers["content-type"]) == (200, "image/png") and data.startswith(b"\x89PNG")
    for path in (
        "/job.yaml", "/ledger/", "/manifest.parquet", "/images/../job.yaml", "/images/%2e%2e/job.yaml",
        "/gallery/../job.yaml", "/gallery/%2e%2e/job.yaml", f"/images/{item[:2]}/{item}.yaml", f"/images/zz/{item}.png",
        f"/images/{'f' * 2}/{'f' * 64}.png", "/gallery/", "/images/a/b/c.png",
    ):  # fmt: skip
        assert inside.ask("GET", path)[0] in (403, 404), path
    for body in (b"{", b"[]", b'{"verdicts": 1}', b"[" * 100_000, b'{"verdicts": [' + b"1," * 6000 + b"1]}"):
        assert inside.ask("POST", "/api/verdicts", body)[0] == 400, body[:20]
    assert inside.ask("POST", "/api/verdicts", b"x" * (9 << 20))[0] == 413
    assert inside.ask("DELETE", "/api/verdicts")[0] in (403, 405)
    answer = json.loads(inside.ask("POST", "/api/verdicts", {"verdicts": [
        7, {"item_id": [], "verdict": {}}, {"item_id": "f" * 64, "verdict": "approve", "reviewer": "ana"},
        {"item_id": item, "verdict": "approve", "note": "x" * 3000}, {"item_id": item, "verdict": "approve",
        "decided_at": "2999-01-01T00:00:00Z"},
    ]})[2])  # fmt: skip
    assert (answer["recorded"], len(answer["problems"])) == (0, 5)


@pytest.mark.parametrize("place", ["local", pytest.param("s3", marks=pytest.mark.slow)])
def test_two_pages_and_the_command_line(
    place: str, make_spec: MakeSpec, start: Callable[[str], Client], request: pytest.FixtureRequest, tmp_path: Path
) -> None:  # fmt: skip
    changes = {"output": f"{request.getfixturevalue('bucket')}/output"} if place == "s3" else {}
    spec = make_spec(**changes)
    a, b, c, _ = generate(spec)
    ana = start(spec.output).enter()
    ben = Client(ana.port, ana.token).enter()
    assert ana.decide(a, "approve")["changed"][a]["state"] == "approved"
    assert ben.decide(b, "reject", "ben", reason="artifacts")["changed"][b]["reason"] == "artifacts"
    assert ben.decide(a, "reject", "ben")["changed"][a]["state"] == "conflict"
    seen = json.loads(ana.ask("GET", "/api/verdicts?since=0")[2])
    assert {item: one["state"] for item, one in seen["changed"].items()} == {a: "conflict", b: "rejected"}
    assert json.loads(ana.ask("GET", f"/api/verdicts?since={seen['number']}")[2])["changed"] == {}
    assert ben.decide(a, "undo", "ben")["changed"][a]["state"] == "approved"
    in_process("review", spec.output, review_file(tmp_path, (c, "approve", "cli")))
    later = json.loads(ana.ask("GET", f"/api/verdicts?since={seen['number']}")[2])
    assert {item: one["state"] for item, one in later["changed"].items()} == {a: "approved", c: "approved"}
    assert {item: one.state for item, one in Reviews(spec.output).standings().items()} == {
        a: "approved", b: "rejected", c: "approved",
    }  # fmt: skip


def test_names_of_a_guard() -> None:
    guard = Guard.of("0.0.0.0", 8000, ("Review.intern",))
    assert guard.check_host({"Host": "review.intern:8000"}) is None
    assert guard.check_host({"Host": "REVIEW.intern"}) is None
    assert guard.check_host({"Host": "[::1]:8000"}) is None
    assert guard.check_host({"Host": "0.0.0.0:8000"}) is not None
    assert guard.check_host({}) is not None
    assert guard.token != Guard.of("127.0.0.1", 1).token and guard.token not in repr(guard)


def test_a_port_that_is_taken(make_spec: MakeSpec, start: Callable[[str], Client]) -> None:
    spec = make_spec()
    generate(spec)
    port = start(spec.output).port
    with pytest.raises(DreamCacheError, match="choose another --port") as caught:
        serve(spec.output, port=port)
    assert caught.value.code == "cannot_serve"
