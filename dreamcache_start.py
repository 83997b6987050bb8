"""Where the command `dreamcache` starts: makes sure that its own packages are imported, then runs it.

A module of its own with a name that nobody has: `jobs.cli.main` itself may be the user's (see `jobs.own_packages`).
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def main() -> None:
    """The command line. Exits 1 with one line where a file of the user is in the way."""
    file = Path(__file__).resolve().parent / "jobs" / "own_packages.py"
    spec = spec_from_file_location("dreamcache_own_packages", file)
    if spec is None or spec.loader is None:
        sys.exit(f"error: {file}: must be there, the installation is not whole; install dreamcache again")
    own_packages = module_from_spec(spec)
    spec.loader.exec_module(own_packages)
    try:
        own_packages.use_own_packages()
    except ImportError as error:
        sys.exit(f"error: {error}")
    from jobs.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
