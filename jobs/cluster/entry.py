"""What a submitted job starts with on the cluster: is dreamcache there, and is it the submitter's version?

    python dreamcache_entry.py VERSION run job.yaml --address auto

`dreamcache submit` sends this file beside the job file, so that it runs where no dreamcache is installed, and reports
it. For that reason it imports only the standard library until it has looked.
"""

from __future__ import annotations

import sys
from importlib import import_module

REMEDY = "submit with '--code ship' to send it along, or give the cluster an image that holds it"


def main(arguments: list[str]) -> None:
    """arguments: the submitter's version, then the command line. Exits 1 with one line when they do not fit."""
    wanted, *command = arguments
    where = f"this cluster's Python ({sys.executable})"
    try:
        installed = import_module("dreamcache").__version__
        run = import_module("jobs.cli.main").main
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {where} has no module '{error.name}', the job was submitted by dreamcache {wanted}; {REMEDY}"
        )
    if installed != wanted:
        sys.exit(f"error: {where} has dreamcache {installed}, the job was submitted by {wanted}; {REMEDY}")
    sys.argv = ["dreamcache", *command]
    run()


if __name__ == "__main__":
    main(sys.argv[1:])
