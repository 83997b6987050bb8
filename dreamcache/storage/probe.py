"""Trials of a location: whether it stores, lists and deletes, how long it takes, and whether conditional writes hold.

Knows the store interface only. Everything is tried on objects of its own below `.probe-<random>/`, which are deleted
again, so a location that is in use may be tried.
"""

from __future__ import annotations

import contextlib
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from dreamcache.core.errors import StorageError
from dreamcache.core.locations import GS_SCHEME, is_local, split_object
from dreamcache.storage.local import local_path
from dreamcache.storage.store import Store, join

PROBE_PREFIX = ".probe-"
RACERS = 8
NO_ETAG = "1" * 18
"""Of no object in any store: GCS takes whole numbers only."""
CONDITIONS = {GS_SCHEME: ("ifGenerationMatch=0", "ifGenerationMatch")}
"""Names of "if there is none" and "if it is that version"; else HTTP's own."""


def is_probe(name: str) -> bool:
    """Whether an object's name, relative to its location, is one that a probe may have left when it was killed."""
    return name.startswith(PROBE_PREFIX)


@contextlib.contextmanager
def probing(store: Store, uri: str) -> Iterator[str]:
    """A new folder below `uri`, gone afterwards with what is in it; a local folder that was not there is gone too."""
    folder = join(uri, PROBE_PREFIX + secrets.token_hex(8))
    created = _absent_folders(uri)
    try:
        yield folder
    finally:
        with contextlib.suppress(StorageError):
            for info in list(store.list(folder)):
                store.delete(info.uri)
        if is_local(uri):
            for path in [local_path(folder), *created]:
                with contextlib.suppress(OSError):  # not empty: somebody else uses it by now
                    path.rmdir()


def check_conditional_writes(store: Store, uri: str) -> None:
    """Four small writes, a listing and two deletes show whether `create` and `replace` are refused when they must be.

    Raises StorageError `no_conditional_writes` when they are not; any other StorageError is the location's own.
    """
    if_none, if_match = _conditions(uri)
    with probing(store, uri) as folder:
        name = join(folder, "once")
        store.write(join(folder, "any"), b"x")  # a location that cannot be written gives its own error
        first, second = (_conditional(uri, partial(store.create, name, data)) for data in (b"1", b"2"))
        if not first or second:
            raise _not_honoured(uri, if_none, "a second write under the same key replaced the first")
        if _conditional(uri, lambda: store.replace(name, b"3", NO_ETAG)):
            raise _not_honoured(uri, if_match, "a write for another version of the object replaced it")


def check_swap(store: Store, uri: str) -> None:
    """Compare and swap succeeds once per version, and of writers that race for one key exactly one wins.

    Raises StorageError `no_conditional_writes`.
    """
    if_none, if_match = _conditions(uri)
    with probing(store, uri) as folder:
        name = join(folder, "swapped")
        store.write(name, b"1")
        before = store.stat(name)
        etag = before.etag if before else None
        took = [_conditional(uri, partial(store.replace, name, data, etag)) for data in (b"2", b"3")]
        if took != [True, False]:
            raise _not_honoured(uri, if_match, f"of two swaps of one version {sum(took)} succeeded")
        raced = join(folder, "raced")
        with ThreadPoolExecutor(RACERS) as pool:
            writers = [str(number).encode() for number in range(RACERS)]
            won = sum(pool.map(lambda data: _conditional(uri, lambda: store.create(raced, data)), writers))
        if won != 1:
            raise _not_honoured(uri, if_none, f"of {RACERS} writers that raced for one key {won} succeeded")


def check_read_write(store: Store, uri: str) -> None:
    """What is written is read, listed and deleted. Raises StorageError."""
    with probing(store, uri) as folder:
        name, data = join(folder, "object"), secrets.token_bytes(1000)
        store.write(name, data)
        if store.read(name) != data:
            raise StorageError(
                f"{uri}: an object must read as it was written, got other bytes; check the storage"
            )
        listed = [info.uri for info in store.list(folder)]
        if listed != [name]:
            raise StorageError(
                f"{uri}: a listing must show what was written, got {listed}; check the storage"
            )
        store.delete(name)
        if store.stat(name) is not None:
            raise StorageError(f"{uri}: a deleted object must be gone, is still there; allow deleting")


def latency_ms(store: Store, uri: str, times: int = 5) -> tuple[float, float]:
    """Median milliseconds of a small write and of a small read. Raises StorageError."""
    with probing(store, uri) as folder:
        names = [join(folder, str(number)) for number in range(times)]
        writes = [_timed(partial(store.write, name, b"x")) for name in names]
        reads = [_timed(partial(store.read, name)) for name in names]
    return statistics.median(writes), statistics.median(reads)


def _conditional(uri: str, action: Callable[[], bool]) -> bool:
    """A store that takes plain writes and answers a conditional one with an error does not have them."""
    try:
        return action()
    except StorageError as error:
        if error.code in ("storage", "storage_unreachable"):
            raise _not_honoured(uri, " and ".join(_conditions(uri)), f"it answered '{error}'") from error
        raise


def _conditions(uri: str) -> tuple[str, str]:
    return CONDITIONS.get(split_object(uri)[0], ("If-None-Match", "If-Match"))


def _not_honoured(uri: str, header: str, got: str) -> StorageError:
    return StorageError(
        f"{uri}: this storage must honour conditional writes ({header}), without which two runs could overwrite each "
        f"other's images, but {got}; use a store that honours {' and '.join(_conditions(uri))} (Amazon S3, Google "
        "Cloud Storage, a recent MinIO, SeaweedFS), or a local folder",
        code="no_conditional_writes",
    )


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


def _absent_folders(uri: str) -> list[Path]:
    """Local folders down to `uri` that do not exist yet, the deepest first."""
    if not is_local(uri):
        return []
    path = local_path(uri).absolute()
    return [folder for folder in (path, *path.parents) if not folder.exists()]
