"""What many processes of a machine need and one of them fetches: weights from the hub, adapters from s3://.

Knows files and locks; knows nothing of what is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from dreamcache.core import ids


def once_per_node(name: str, fetch: Callable[[], str]) -> str:
    """The local folder that fetch() returned to the first process of this machine that asked for `name`.

    The others wait for it and do not fetch. name: says it all, revision or content included.
    """
    mark = Path("~/.cache/dreamcache/fetched").expanduser() / ids.of_values("fetched", name=name)[:32]
    mark.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{mark}.lock"):
        if mark.is_file() and Path(known := mark.read_text()).is_dir():
            return known
        folder = fetch()
        mark.write_text(folder)
        return folder
