"""Ends of runs: a signed webhook, once for each end, kept for the next run where nobody answers; `_SUCCESS`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import SpecError
from dreamcache.core.web_url import parse_web
from dreamcache.storage.driver import this_driver
from dreamcache.storage.status import State, Status, now
from dreamcache.storage.web.addresses import Address
from dreamcache.storage.web.post import post
from jobs.running import finish as finish_module
from jobs.running.finish import Finish, signed_headers
from jobs.spec import parse_spec
from tests.tls_server import TlsServer

SECRET = "a secret that nobody may read"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsServer]:
    monkeypatch.setenv("DREAMCACHE_WEBHOOK_SECRET", SECRET)
    with TlsServer() as server:
        yield server


def spec_of(folder: Path, server: TlsServer | None = None, **on_finish: Any) -> JobSpec:
    if server is not None:
        host = {"host": f"127.0.0.1:{server.port}", "networks": ["127.0.0.0/8"], "ca": server.ca}
        on_finish = {"webhook": server.url("/hook/private-token"), "hosts": [host], "retry_s": 5, **on_finish}
    return parse_spec({
        "name": "shop", "catalog": "c.csv", "output": str(folder), "on_finish": on_finish,
        "price": {"gpu_hour": 2, "currency": "EUR"},
    })  # fmt: skip


def ended(state: State = "finished", *, done: int = 3, total: int = 3, reason: str | None = None) -> Status:
    return Status(
        kind="job", name="shop", state=state, started_at=now(), updated_at=now(), total=total,
        counts={"done": done, "failed": total - done}, exit_reason=reason, driver=this_driver(),
        details={"spent": {"hours": 1, "cost": 2.5}},
    )  # fmt: skip


def deliveries(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((folder / "deliveries.json").read_text())["deliveries"]
    return entries


def test_one_signed_post_an_end(server: TlsServer, tmp_path: Path) -> None:
    spec, status = spec_of(tmp_path, server), ended()
    Finish(spec).end(status)
    Finish(spec).end(status)  # as a driver that resumes after the end was recorded
    [(path, headers, body)] = server.posts
    event = json.loads(body)
    assert path == "/hook/private-token"
    assert (event["type"], event["exit_code"], event["done"], event["total"]) == ("run.finished", 0, 3, 3)
    assert (event["spent"]["cost"], event["currency"]) == (2.5, "EUR")
    named = {name.lower(): value for name, value in headers.items()}
    assert named["webhook-id"] == named["idempotency-key"] == event["id"]
    signed = f"{event['id']}.{named['webhook-timestamp']}.".encode() + body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert named["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    [record] = deliveries(tmp_path)
    assert (record["state"], record["status"], record["tries"]) == ("delivered", 204, 1)
    Finish(spec).end(ended())  # the end of another run
    assert len(server.posts) == 2


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of Standard Webhooks' documentation."""
    body = b'{"test": 2432232314}'
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", body, 1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_busy_receiver_is_tried_again(server: TlsServer, tmp_path: Path) -> None:
    server.answer_posts(503, 429)
    Finish(spec_of(tmp_path, server)).end(ended())
    assert len(server.posts) == 3
    assert len({body for _, _, body in server.posts}) == 1
    assert deliveries(tmp_path)[0]["state"] == "delivered" and deliveries(tmp_path)[0]["tries"] == 3


def test_what_a_dead_receiver_missed_the_next_run_sends_under_the_same_id(
    server: TlsServer, tmp_path: Path
) -> None:
    server.answer_posts(*[503] * 50)
    notes: list[str] = []
    Finish(spec_of(tmp_path, server, retry_s=0.2), notes.append).end(ended())
    [record] = deliveries(tmp_path)
    assert record["state"] == "pending" and "the next run of this job sends it again" in notes[0]
    tries = len(server.posts)
    server.answer_posts()
    Finish(spec_of(tmp_path, server)).begin()
    assert len(server.posts) == tries + 1
    assert json.loads(server.posts[-1][2])["id"] == record["id"] == deliveries(tmp_path)[0]["id"]
    Finish(spec_of(tmp_path, server)).begin()
    assert len(server.posts) == tries + 1


def test_a_driver_that_dies_before_the_answer_leaves_the_delivery(
    server: TlsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*args: object, **options: object) -> int:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(finish_module, "post", kill)
        with pytest.raises(Killed):
            Finish(spec_of(tmp_path, server)).end(ended())
    assert deliveries(tmp_path)[0]["state"] == "pending" and server.posts == []
    Finish(spec_of(tmp_path, server)).begin()
    assert len(server.posts) == 1 and deliveries(tmp_path)[0]["state"] == "delivered"


@pytest.mark.parametrize("seal", [None, "", "\u00e9", "\ud800", 5])
def test_a_delivery_that_no_run_wrote_is_not_signed(server: TlsServer, tmp_path: Path, seal: object) -> None:
    server.answer_posts(*[503] * 50)
    Finish(spec_of(tmp_path, server, retry_s=0.2)).end(ended())
    file = next(tmp_path.rglob("deliveries.json"))
    value = json.loads(file.read_text())
    value["deliveries"][0]["event"]["manifest"] = "s3://other/manifest.parquet"
    value["deliveries"][0]["seal"] = value["deliveries"][0]["seal"] if seal is None else seal
    file.write_text(json.dumps(value))
    server.answer_posts()
    posts, notes = len(server.posts), list[str]()
    Finish(spec_of(tmp_path, server), notes.append).begin()
    assert len(server.posts) == posts
    assert "1 deliveries are not sent: no run with this secret wrote them" in notes[0]


@pytest.mark.parametrize(("status", "message"), [(302, "got 302"), (404, "got 404"), (401, "got 401")])
def test_other_answers_are_final_and_redirects_lead_nowhere(
    server: TlsServer, tmp_path: Path, status: int, message: str
) -> None:
    server.answer_posts(status)
    notes: list[str] = []
    Finish(spec_of(tmp_path, server), notes.append).end(ended())
    assert len(server.posts) == 1 and message in notes[0]


def test_a_private_address_is_not_asked(server: TlsServer, tmp_path: Path) -> None:
    notes: list[str] = []
    hosts = [{"host": f"127.0.0.1:{server.port}"}]
    Finish(spec_of(tmp_path, server, hosts=hosts), notes.append).end(ended())
    assert server.posts == [] and "must lie at an address that may be asked" in notes[0]


def test_no_secret_is_written(server: TlsServer, tmp_path: Path) -> None:
    server.answer_posts(503, 503, 404)
    spec = spec_of(tmp_path, server, webhook=None, webhook_env="HOOK")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOOK", server.url("/hook/private-token"))
        notes: list[str] = []
        Finish(spec, notes.append).end(ended())
    files = (
        b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) + str(notes).encode()
    )
    assert server.posts and b"private-token" not in files and SECRET.encode() not in files


@pytest.mark.parametrize(
    ("end", "on_finish", "is_written"),
    [
        (ended(), {}, True),
        (ended(done=2), {}, False),
        (ended(done=2), {"ok_with_failures": True}, True),
        (
            ended("stopped", done=2, reason="limits.max_cost (1 USD) is reached"),
            {"ok_with_failures": True},
            False,
        ),
        (ended("failed"), {}, False),
        (ended(), {"success": False}, False),
    ],
)
def test_success_is_said_of_a_whole_job_only(
    tmp_path: Path, end: Status, on_finish: dict[str, Any], is_written: bool
) -> None:
    finish = Finish(spec_of(tmp_path, **on_finish))
    finish.check()
    finish.end(end)
    assert (tmp_path / "_SUCCESS").is_file() == is_written
    assert not (tmp_path / "deliveries.json").exists()
    finish.begin()
    assert not (tmp_path / "_SUCCESS").exists()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (ended(), 0), (ended(done=1), 3), (ended("failed", reason="no room"), 1),
        (ended("stopped", reason="limits.max_hours (1) is reached"), 4), (ended("stopped", reason="interrupted"), 130),
    ],
)  # fmt: skip
def test_the_event_states_the_exit_code(tmp_path: Path, end: Status, code: int) -> None:
    assert finish_module.event_of(spec_of(tmp_path), end)["exit_code"] == code


@pytest.mark.parametrize(
    "data", [b"", b"[1]", b'{"deliveries": [{"id": "../x", "state": "pending"}, 5]}', b"{" * 9999]
)
def test_a_damaged_record_is_passed_over(server: TlsServer, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "deliveries.json").write_bytes(data)
    finish = Finish(spec_of(tmp_path, server))
    finish.begin()
    finish.end(ended())
    assert len(server.posts) == 1 and len(deliveries(tmp_path)) == 1


@pytest.mark.parametrize(
    ("on_finish", "message"),
    [
        ({"webhook": "https://a.example/x"}, "hosts must be a list with the webhook's host"),
        (
            {"webhook": "https://a.example/x", "hosts": [{"host": "b.example"}]},
            "must lie on a host of 'hosts'",
        ),
        ({"webhook": "http://a.example/x", "hosts": [{"host": "a.example"}]}, "must begin with https://"),
        ({"webhook": "https://u:p@a.example/x", "hosts": [{"host": "a.example"}]}, "must name no user"),
        ({"webhook_env": "A B", "hosts": [{"host": "a.example"}]}, "the name of an environment variable"),
        ({"retry_s": 1e9}, "retry_s must be at most 3600"),
        ({"webhok": "x"}, "did you mean 'webhook'"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, on_finish: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(tmp_path, **on_finish)


def test_a_missing_secret_ends_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DREAMCACHE_WEBHOOK_SECRET", raising=False)
    spec = spec_of(tmp_path, webhook="https://a.example/x", hosts=[{"host": "a.example"}])
    with pytest.raises(
        SpecError, match="DREAMCACHE_WEBHOOK_SECRET must be set where the driver runs"
    ) as caught:
        Finish(spec).check()
    assert caught.value.code == "no_secret"


def test_every_address_of_a_host_is_asked(server: TlsServer, tmp_path: Path) -> None:
    """Nobody listens at the first."""
    settings = spec_of(tmp_path, server).on_finish
    assert settings is not None
    host = settings.host_for(server.url("/hook"))
    url = parse_web(server.url("/hook"))

    def resolve(name: str, port: int, seconds: float) -> list[Address]:
        return [ip_address("127.0.0.9"), ip_address("127.0.0.1")]

    assert post(url, host, b"{}", {}, 0, resolve=resolve) == 204
    assert len(server.posts) == 1


def test_an_interrupted_run_waits_a_bounded_time_for_a_silent_receiver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish_module, "INTERRUPTED_S", 0.5)
    monkeypatch.setenv("DREAMCACHE_WEBHOOK_SECRET", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        hosts = [{"host": address, "networks": ["127.0.0.0/8"], "timeout_s": 30}]
        spec = spec_of(tmp_path, webhook=f"https://{address}/hook", hosts=hosts)
        notes: list[str] = []
        began = time.monotonic()
        Finish(spec, notes.append).end(ended("stopped", reason="interrupted"))
        assert time.monotonic() - began < 5
    assert deliveries(tmp_path)[0]["state"] == "pending"
    assert "the next run of this job sends it again" in notes[0]
