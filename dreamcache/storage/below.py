"""Names that a file of ours holds, as keys below a folder: never a path that leads out of it.

    below("s3://bucket/job", "images/ab/ab12.png") -> "s3://bucket/job/images/ab/ab12.png"
    below("out", "../../etc/passwd")               -> StorageError `unsafe_name`

A ledger, a manifest, a list of pruned images or latest.json may come from anyone who can write to the folder. Knows
the form of names; opens nothing.
"""

from __future__ import annotations

import re

from dreamcache.core.errors import StorageError
from dreamcache.storage.store import join

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"^[A-Za-z]:")
RULE = "a name below the folder, without '..', '.', empty parts, '\\', a drive letter or control characters"


def below(root: str, *names: str) -> str:
    """`root` extended by names that a file of ours holds. Raises StorageError `unsafe_name` for one that is a path."""
    for name in names:
        if not is_name(name):
            raise StorageError(
                f"{root}: must be read and written by {RULE}, got {ascii(name)[:200]}; dreamcache did not write the "
                "file that holds this name: restore it from a copy",
                code="unsafe_name",
            )
    return join(root, *names)


def is_name(name: object) -> bool:
    """Whether it stays below every folder it is joined to, on every system."""
    if not isinstance(name, str) or _CONTROL.search(name) or "\\" in name or _DRIVE.match(name):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no file or object can be called
        return False
    return not {"", ".", ".."} & set(name.split("/"))
