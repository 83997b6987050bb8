"""What a submitted job starts with on the cluster: is dreamcache there, and is it the submitter's version?

    python dreamcache_entry.py VERSION run job.yaml --address auto

`dreamcache submit` sends this file beside the job file, so that it runs where no dreamcache is installed, and can say
so. For that reason it imports nothing but the standard library until it has looked.
"""

from __future__ import annotations

import sys
from importlib import import_module

MENDED = "submit with '--code ship' to send it along, or give the cluster an image that holds it"


def main(arguments: list[str]) -> None:
    """arguments: the submitter's version, then the command line. Exits 1 with one line when they do not fit."""
    wanted, *command = arguments
    where = f"this cluster's Python ({sys.executable})"
    try:
        found = import_module("dreamcache").__version__
        run = import_module("jobs.cli.main").main
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {where} has no module '{error.name}', the job was submitted by dreamcache {wanted}; {MENDED}"
        )
    if found != wanted:
        sys.exit(f"error: {where} has dreamcache {found}, the job was submitted by {wanted}; {MENDED}")
    sys.argv = ["dreamcache", *command]
    run()


if __name__ == "__main__":
    main(sys.argv[1:])
