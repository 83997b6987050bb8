"""`dreamcache gallery --serve`: the gallery of a local or S3 output, whose verdicts go straight into the review log.

    GET  /                      the entrance: takes the token from the address, which no server log ever sees
    POST /api/session           token -> cookie
    GET  /gallery/...           the page, its data and reference photos, from a temporary folder
    GET  /images/<2>/<id>.png   read from the output, with this process's credentials
    GET, POST /api/verdicts     what changed since, what this reviewer decided

Nothing else of the output is served. Knows HTTP; who may ask is in `guard`, what verdicts do in `board`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web

from dreamcache.core.errors import DreamCacheError
from dreamcache.core.texts import one_line
from dreamcache.storage.item_keys import is_key_of
from dreamcache.storage.open_store import read_bounded
from jobs.export.fetch import is_link
from jobs.output.folder import OutputFolder
from jobs.review.board import Board, verdicts_of
from jobs.review.guard import Guard, Refusal

MOST_BODY = 8 << 20
MOST_IMAGE_BYTES = 256 << 20
KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
}
ENTRANCE_SCRIPT = """"use strict";
const token = location.hash.slice(1);
history.replaceState(null, "", "/");
fetch("/api/session", { method: "POST", body: JSON.stringify({ token }),
  headers: { "content-type": "application/json", "x-dreamcache-review": "1" } })
  .then((answer) => { if (answer.ok) location.replace("/gallery/index.html");
    else document.body.textContent = "Wrong token: open the address that the command printed."; });
"""
ENTRANCE = (
    f"<!doctype html><meta charset=utf-8><title>DreamCache</title><body>…<script>{ENTRANCE_SCRIPT}</script>"
)
_HASH = base64.b64encode(hashlib.sha256(ENTRANCE_SCRIPT.encode()).digest()).decode()
ENTRANCE_POLICY = (
    f"default-src 'none'; script-src 'sha256-{_HASH}'; connect-src 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """What is served. files: the page's, by key below the output, on this machine."""

    folder: OutputFolder
    board: Board
    guard: Guard
    reviewer: str
    files: Mapping[str, Path] = field(default_factory=dict)


def application(site: Site) -> web.Application:
    """The server's routes, each behind the guard."""
    app = web.Application(middlewares=[_guarded(site)], client_max_size=MOST_BODY)
    answers = _Answers(site)
    app.add_routes(
        [
            web.get("/", answers.enter),
            web.post("/api/session", answers.session),
            web.get("/gallery/{name:.+}", answers.gallery),
            web.get("/images/{shard}/{name}", answers.image),
            web.get("/api/verdicts", answers.changed),
            web.post("/api/verdicts", answers.record),
        ]
    )
    return app


class _Answers:
    """What each route answers."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def enter(self, request: web.Request) -> web.StreamResponse:
        return web.Response(
            text=ENTRANCE, content_type="text/html", headers={"Content-Security-Policy": ENTRANCE_POLICY}
        )

    async def session(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        token = body.get("token") if isinstance(body, dict) else None
        if refusal := self.site.guard.check_token(token if isinstance(token, str) else ""):
            return _refused(refusal)
        answer = web.json_response({"ok": True})
        answer.set_cookie(
            self.site.guard.cookie, self.site.guard.session, httponly=True, samesite="Strict", path="/"
        )
        return answer

    async def gallery(self, request: web.Request) -> web.StreamResponse:
        path = self.site.files.get(f"gallery/{request.match_info['name']}")
        if path is None:
            return _refused(_absent(request))
        return _file(request.path, await asyncio.to_thread(path.read_bytes))

    async def image(self, request: web.Request) -> web.StreamResponse:
        key = f"images/{request.match_info['shard']}/{request.match_info['name']}"
        if not is_key_of(key, request.match_info["name"].rpartition(".")[0]):
            return _refused(_absent(request))
        if is_link(self.site.folder.at(key)):
            return _refused(_absent(request))
        try:
            data = await asyncio.to_thread(read_bounded, self.site.folder.at(key), MOST_IMAGE_BYTES)
        except FileNotFoundError:
            return _refused(_absent(request))
        return _file(key, data, {"Cache-Control": "private, max-age=86400, immutable"})

    async def changed(self, request: web.Request) -> web.StreamResponse:
        since = request.query.get("since", "0")
        number = int(since) if since.isascii() and since.isdigit() and len(since) < 10 else 0
        number, items = await asyncio.to_thread(self.site.board.changed_since, number)
        return web.json_response({"number": number, "changed": items})

    async def record(self, request: web.Request) -> web.StreamResponse:
        rows = verdicts_of(await _json(request))
        result, items = await asyncio.to_thread(self.site.board.record, rows, self.site.reviewer)
        return web.json_response({**result.as_dict(), "changed": items})


def _guarded(site: Site) -> Any:
    """Every answer passes here: refusals first, our headers last, an error as one line."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            refusal = _refusal(site.guard, request)
            answer = _refused(refusal) if refusal else await handler(request)
        except web.HTTPException as error:
            answer = _refused(Refusal(status=error.status, message=HTTPStatus(error.status).phrase))
        except ValueError as error:
            answer = _refused(Refusal(status=400, message=one_line(str(error))))
        except (DreamCacheError, OSError) as error:
            answer = _refused(Refusal(status=503, message=one_line(str(error))))
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    return guarded


def _refusal(guard: Guard, request: web.Request) -> Refusal | None:
    if refusal := guard.check_host(request.headers):
        return refusal
    is_entrance = request.path in ("/", "/api/session")
    if not is_entrance and (refusal := guard.check_session(request.cookies)):
        return refusal
    return guard.check_change(request.headers) if request.method not in ("GET", "HEAD") else None


def _refused(refusal: Refusal) -> web.Response:
    return web.json_response({"message": refusal.message}, status=refusal.status)


def _absent(request: web.Request) -> Refusal:
    return Refusal(status=404, message="there is nothing at this address")


def _file(path: str, data: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
    kind = KINDS.get(path.rpartition(".")[2], "application/octet-stream")
    return web.Response(body=data, headers={**(headers or {}), "Content-Type": kind})


async def _json(request: web.Request) -> object:
    """ValueError for a body that is no JSON."""
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise ValueError("the body must be JSON") from error
