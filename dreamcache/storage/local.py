"""The object interface on a local (or mounted) folder.

An object is written to a hidden temporary file beside its path, synced, then linked or renamed to it: a
crash leaves the old object or the new one, and at most a hidden file that no listing shows.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from dreamcache.core.errors import StorageError
from dreamcache.core.locations import expanded, is_local
from dreamcache.storage.bounded import IsFolder, check_kind, read_regular
from dreamcache.storage.store import FILE_SCHEME, ObjectInfo, join

TEMPORARY_SUFFIX = ".dctmp"
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
NO_FILE = (errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
COPY_BYTES = 1 << 20
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
FAULTY = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENODEV, errno.ENXIO)


def local_path(uri: str) -> Path:
    """The path of a local URI: `file://` decoded, `~` expanded, relative paths as of the working folder."""
    if uri.startswith(FILE_SCHEME):
        # Not by urlsplit: # and ? are characters of a file's name, here as in any path.
        return Path(unquote("/" + uri.removeprefix(FILE_SCHEME).partition("/")[2]))
    return expanded(uri)


def check_regular(uri: str) -> None:
    """Raises NotRegular for a location of this machine that is a device, pipe or socket, for readers that are not ours.

    What is not there, a folder and an object of a store pass.
    """
    if is_local(uri):
        with contextlib.suppress(OSError, ValueError, IsFolder):
            check_kind(os.stat(local_path(uri)), uri)


class LocalStore:
    """See `store.Store`. Etags consist of time of change, inode and size."""

    def read(self, uri: str, limit: int | None = None) -> bytes:
        try:
            return read_regular(local_path(uri), limit, uri)
        except IsFolder:
            raise
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"{uri}: no such file") from None
        except ValueError as error:  # a NUL or half a surrogate pair, which no file's name can hold
            raise FileNotFoundError(f"{uri!a}: no such file: {error}") from None
        except OSError as error:
            raise _error(uri, "read", error) from error

    def write(self, uri: str, data: bytes) -> None:
        with _temporary(uri, data) as (temporary, path):
            os.replace(temporary, path)

    def upload(self, uri: str, path: Path) -> None:
        with _temporary(uri, path) as (temporary, target):
            os.replace(temporary, target)

    def create(self, uri: str, data: bytes) -> bool:
        with _temporary(uri, data) as (temporary, path):
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                return _create_locked(temporary, path)
            return True

    def replace(self, uri: str, data: bytes, etag: str | None) -> bool:
        if etag is None:
            return self.create(uri, data)
        with _temporary(uri, data) as (temporary, path), _locked(path.parent):
            try:
                old = path.stat()
            except FileNotFoundError:
                return False
            if _etag(old) != etag:
                return False
            # File times are coarse and inodes are used again: time must move for the etag to.
            new = temporary.stat()
            os.utime(temporary, ns=(new.st_atime_ns, max(new.st_mtime_ns, old.st_mtime_ns + 1)))
            os.replace(temporary, path)
            return True

    def stat(self, uri: str) -> ObjectInfo | None:
        path = local_path(uri)
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _error(uri, "read", error) from error
        return None if path.is_dir() else _info(uri, status)

    def list(self, prefix_uri: str) -> Iterator[ObjectInfo]:
        try:
            yield from _walk(prefix_uri, local_path(prefix_uri))
        except OSError as error:
            raise _error(prefix_uri, "list", error) from error

    def delete(self, uri: str) -> None:
        path = local_path(uri)
        try:
            with _locked(path.parent, needed=False):
                path.unlink(missing_ok=True)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _error(uri, "delete", error) from error


def list_readable(uri: str, on_unreadable: Callable[[str, StorageError], None]) -> Iterator[ObjectInfo]:
    """`LocalStore.list`, which passes over what below the folder cannot be listed, and reports it with its error.

    For catalogs, where one folder must not cost the others; whoever must see all objects uses `list`.
    """

    def report(name: str, error: OSError) -> None:
        on_unreadable(name, _error(name, "list", error))

    try:
        yield from _walk(uri, local_path(uri), on_error=report)
    except OSError as error:
        raise _error(uri, "list", error) from error


def _walk(
    uri: str,
    folder: Path,
    above: tuple[tuple[int, int], ...] = (),
    on_error: Callable[[str, OSError], None] | None = None,
) -> Iterator[ObjectInfo]:
    """above: device and inode of the folders that lead here: a link to one of them would lead round in a circle.
    on_error: called with what is below the first folder and cannot be read; None raises."""
    try:
        # A folder's entries come in no order, so nothing is deleted while they are read (see `Store.list`).
        with _locked(folder, fcntl.LOCK_SH, needed=False), os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
        status = folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if on_error is None or not above:
            raise
        on_error(uri, error)
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link that leads to itself
            continue
        if is_folder:
            yield from _walk(join(uri, entry.name), Path(entry.path), (*above, here), on_error)
        elif not entry.name.endswith(TEMPORARY_SUFFIX):
            file_status = _status(entry, join(uri, entry.name), on_error)
            if file_status is not None:
                yield _info(join(uri, entry.name), file_status)


def _status(
    entry: os.DirEntry[str], uri: str, on_error: Callable[[str, OSError], None] | None
) -> os.stat_result | None:
    """None for a file that was deleted while it was listed, and for one that on_error was called with."""
    try:
        return entry.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        if on_error is None:
            raise
        on_error(uri, error)
        return None


@contextlib.contextmanager
def _temporary(uri: str, data: bytes | Path) -> Iterator[tuple[Path, Path]]:
    """(temporary file holding `data`, path of `uri`), on disk; the temporary is gone afterwards."""
    path = local_path(uri)
    temporary = path.parent / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                if isinstance(data, Path):
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file, COPY_BYTES)
                else:
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary, path
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise _error(uri, "write", error) from error


@contextlib.contextmanager
def _locked(folder: Path, kind: int = fcntl.LOCK_EX, *, needed: bool = True) -> Iterator[None]:
    """One process and thread at a time deletes or swaps here, or several list; needs no lock file.

    needed: False continues without a lock where a mount has none.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, kind)
        except OSError:
            if needed:
                raise
        yield
    finally:
        os.close(handle)


def _create_locked(temporary: Path, path: Path) -> bool:
    """For mounts without hard links: safe among writers that use this same way."""
    with _locked(path.parent):
        if path.exists():
            return False
        os.replace(temporary, path)
        return True


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some mounts cannot sync folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"


def _info(uri: str, status: os.stat_result) -> ObjectInfo:
    modified = datetime.fromtimestamp(status.st_mtime, tz=UTC)
    return ObjectInfo(uri=uri, num_bytes=status.st_size, etag=_etag(status), modified=modified)


def _error(uri: str, action: str, error: OSError) -> StorageError:
    got = error.strerror or str(error)
    code, rule, remedy = "storage", "a working location is needed", "check the disk or mount"
    if error.errno in NO_SPACE:
        code, rule, remedy = "no_space", "free space is needed", "free some or choose another location"
    elif action in ("write", "delete") and error.errno in READ_ONLY:
        code, rule, remedy = "read_only", "a writable folder is needed", "change its rights or choose another"
    elif error.errno in NO_FILE:
        code, rule, remedy = "bad_uri", "the path of a file is needed", "correct the path"
    elif error.errno in FAULTY:
        code, rule = "io_error", "a disk or mount that answers is needed"
    elif error.errno in (errno.EACCES, errno.EPERM):
        code, rule, remedy = "access_denied", "the right to read is needed", "change the rights of the path"
    return StorageError(f"{uri}: cannot {action}: {rule}, got '{got}'; {remedy}", code=code)
