"""This installation's own packages come first, whatever folder the program runs in.

A user's folder may hold modules `workers`, `jobs` or `dreamcache` of its own. Ray puts the driver's folder in
front of every worker's path, and PYTHONPATH does the same for the driver: those would be imported for ours.

    driver    `dreamcache_start` and `import jobs`    --> use_own_packages(root)
    children  this file, run as a script with a module's name; see `command_of`
    workers   Ray's setup hook, sent by value         --> use_own_packages(the driver's root, or where it is installed)

Knows names and folders, and nothing of ours: it is loaded by its path, before any of our packages. Standard library
only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PACKAGES = ("dreamcache", "jobs", "workers")
ROOT = str(Path(__file__).resolve().parent.parent)
"""The folder that holds our packages: of site-packages, or of the repository."""


class OwnPackages(MetaPathFinder):
    """Finds PACKAGES below `root` before any folder of sys.path is looked at. Other names are not its business."""

    def __init__(self, root: str) -> None:
        self.root = root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None where `root` has no such package: the usual search follows."""
        return PathFinder.find_spec(fullname, [self.root]) if fullname in PACKAGES else None


def use_own_packages(root: str = ROOT) -> None:
    """From now on PACKAGES are imported from `root`. Raises ImportError, in one line, where another one already was."""
    if not all(Path(root, name, "__init__.py").is_file() for name in PACKAGES):
        return  # each package in a folder of its own, as Ray unpacks code that is sent: nothing else is beside it
    for name in PACKAGES:
        file = getattr(sys.modules.get(name), "__file__", None)
        if name in sys.modules and (
            file is None or Path(file).resolve().parent.parent != Path(root).resolve()
        ):
            raise ImportError(
                f"module '{name}' must be dreamcache's own, of {root}, but {file or 'another one'} is in the way and "
                "was imported before it; rename that file, or start where it is not on Python's path"
            )
    if not any(isinstance(finder, OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, OwnPackages(root))


def installed_root() -> str | None:
    """Where pip has put our packages for this interpreter; None where they are not installed."""
    from importlib.metadata import PackageNotFoundError, distribution  # takes longer than the rest of a start

    try:
        return str(distribution("dreamcache").locate_file(""))
    except PackageNotFoundError:
        return None


def setup_hook(root: str = ROOT) -> Callable[[], None]:
    """What a Ray worker runs before anything else. root: the driver's; a machine without it uses its own."""

    def prefer_own_packages() -> None:
        for place in (root, installed_root()):
            if place is not None and Path(place, "jobs", "__init__.py").is_file():
                use_own_packages(place)
                return

    return prefer_own_packages


def command_of(module: str, *arguments: str) -> list[str]:
    """As `python -m module arguments`, with our packages first: -m would put the current folder before them."""
    return [sys.executable, "-P", str(Path(__file__).resolve()), module, *arguments]


def in_the_way() -> Path | None:
    """A file that a Ray worker of this process would import for one of our packages; None where there is none.

    Ray gives a worker this process's folder, the folder of its script, and PYTHONPATH.
    """
    try:
        folders = [Path.cwd(), Path(sys.argv[0]).resolve().parent]
    except OSError:  # the folder was deleted
        folders = []
    folders += [Path(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    for folder in dict.fromkeys(folders):
        for name in PACKAGES:
            # A folder without __init__.py, of job files say, is never imported while ours is on the path.
            for file in (folder / name / "__init__.py", folder / f"{name}.py"):
                if file.is_file() and file.resolve() != Path(ROOT, name, "__init__.py").resolve():
                    return file
    return None


if __name__ == "__main__":
    import runpy

    use_own_packages()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
