"""Starts the review server of one output, and stops it. Knows sockets and the gallery's parts; not what is served."""

from __future__ import annotations

import asyncio
import errno
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from aiohttp import web

from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.reviews import Reviews
from dreamcache.storage.roots import Roots
from jobs.gallery import ITEM_LIMIT
from jobs.output.folder import OutputFolder
from jobs.output.publish_gallery import publish_gallery
from jobs.output.reader import first_outputs
from jobs.review.board import Board
from jobs.review.guard import LOOPBACK, Guard
from jobs.review.record import ABOUT
from jobs.review.server import Site, application
from jobs.running.interrupt import STOPPING

STOP_S = 2.0


def serve(
    output: str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    names: tuple[str, ...] = (),
    reviewer: str = "",
    roots: Roots | None = None,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves until Ctrl-C or SIGTERM. port: 0 for a free one; names: of the host, as browsers write them.

    roots: as of `publish_gallery`. on_ready: called with the address to open, which holds the token. Raises
    DreamCacheError `cannot_serve`, or StorageError `no_manifest`.
    """
    with _socket(host, port) as listening, tempfile.TemporaryDirectory(prefix="dreamcache-review-") as place:
        guard = Guard.of(_name_of(host), listening.getsockname()[1], names)
        site = _site(output, guard, reviewer, roots, Path(place))
        name = _name_of(host) if host not in ("0.0.0.0", "::") else LOOPBACK[0]
        with suppress(KeyboardInterrupt):
            asyncio.run(_run(site, listening, lambda: on_ready(f"http://{name}:{guard.port}/#{guard.token}")))
    Reviews(output).compact()


def _site(output: str, guard: Guard, reviewer: str, roots: Roots | None, place: Path) -> Site:
    folder = OutputFolder(output)
    rows, _ = first_outputs(folder.uri, ITEM_LIMIT)
    files: dict[str, Path] = {}

    def write(key: str, data: bytes) -> None:
        files[key] = place / str(len(files))
        files[key].write_bytes(data)

    publish_gallery(folder.read_summary(), rows, folder, roots=roots, write=write, served_to=reviewer)
    return Site(
        folder=folder, board=Board(folder.uri, _items(rows)), guard=guard, reviewer=reviewer, files=files
    )


def _items(rows: pa.Table) -> dict[str, dict[str, object]]:
    present = [name for name in ABOUT if name in rows.column_names]
    return {row["item_id"]: row for row in rows.select(present).to_pylist()}


async def _run(site: Site, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    runner = web.AppRunner(application(site), access_log=None, shutdown_timeout=STOP_S)
    stopped = asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        on_ready()
        await stopped.wait()
    finally:
        await runner.cleanup()


def _name_of(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _socket(host: str, port: int) -> socket.socket:
    if not host:
        raise DreamCacheError(
            "gallery --serve: --host must name an address, got an empty one, which would listen on all; leave it out",
            code="cannot_serve",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        remedy = "choose another --port" if error.errno == errno.EADDRINUSE else "correct --host and --port"
        raise DreamCacheError(
            f"gallery --serve: {host}:{port} must be free to listen on, got '{error.strerror}'; {remedy}",
            code="cannot_serve",
        ) from error
    return listening
