"""Lines that Ray prints in a driver's process: on stderr where they are asked for, nowhere otherwise.

    a worker's line, an event of the autoscaler, an error message of the cluster -> print_worker_logs -> here

Ray prints error messages of the cluster on stdout even with `log_to_driver=False`: a worker that was killed at a limit
leaves such a line before the JSON of `--json`. Knows Ray's printer; knows nothing of jobs.
"""

from __future__ import annotations

import sys
from typing import Any


def keep_off_stdout(*, is_shown: bool) -> None:
    """From now on no line of Ray's is printed on this process's stdout; on its stderr if `is_shown`."""
    from ray._private import worker

    known = worker.print_worker_logs
    original = getattr(known, "original", known)  # a second call replaces the first

    def print_lines(data: dict[str, Any], print_file: object, ignore_prefix: bool = False) -> None:
        if is_shown:
            original(data, sys.stderr, ignore_prefix)

    print_lines.original = original  # type: ignore[attr-defined]
    worker.print_worker_logs = print_lines
