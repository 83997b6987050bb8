"""Folders for large files on their way to a store: gone at the end, and after a kill at the next start.

    temporary_folder("checkpoint") -> $TMPDIR/dreamcache-checkpoint-x7f3/, locked while its process lives
                                      others of this name without a lock are deleted first

A lock and not a process id: containers share a folder, and number their processes alike. Knows folders; nothing of
what is written.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

LOCK = ".lock"
YOUNG_S = 60.0
"""A folder that is not older may be about to be locked."""


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A new folder in the system's temporary one, deleted afterwards. Raises OSError where there is no room for it."""
    prefix = f"dreamcache-{purpose}-"
    _delete_abandoned(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as name, ExitStack() as stack:
        with suppress(OSError):  # a file system without locks: then nobody else gets one either
            stack.enter_context(_locked(Path(name, LOCK)))
        yield Path(name)


def _delete_abandoned(prefix: str) -> None:
    """What killed processes have left. A folder of another user, a link and what has no lock file are passed over."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            facts = folder.lstat()
            is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid()
            if is_ours and time.time() - facts.st_mtime > YOUNG_S:
                with _locked(folder / LOCK, create=False):
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path, *, create: bool = True) -> Iterator[None]:
    """Raises OSError where another process holds the lock, or where there is no such file to lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
