"""The project as users have it: a wheel, installed into an environment of its own, away from the repository.

The environment sees this interpreter's other packages by a .pth file, since installing torch again takes too long.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
PARTS = ("dreamcache", "workers", "jobs", "dreamcache_start.py", "pyproject.toml", "README.md", "LICENSE")


def build_wheel(folder: Path) -> Path:
    """Builds the wheel without network, from a copy, since the build writes beside its sources."""
    source = folder / "source"
    for part in PARTS:
        if (REPOSITORY / part).is_dir():
            shutil.copytree(REPOSITORY / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / part, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder)]
    _run(sys.executable, "-m", "pip", "wheel", *options, str(source))
    [wheel] = folder.glob("dreamcache-*.whl")
    return wheel


def make_environment(folder: Path, wheel: Path | None) -> Path:
    """A virtual environment with the wheel, or without dreamcache; returns the path of its interpreter."""
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python = folder / "bin" / "python"
    if wheel is not None:
        options = ["--no-deps", "--no-index", "--quiet"]
        _run(sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel))
    # Only now, so that pip meets no installation but its own. .pth files inside it are not followed, an editable
    # installation of the repository among them.
    [packages] = folder.glob("lib/python3*/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def outside(extra: dict[str, str], home: Path) -> dict[str, str]:
    """Variables of a user who knows nothing of the repository, of another cluster or of another token."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_", "PYTHON"))
    }
    quiet = {"OMP_NUM_THREADS": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    return {**ours, **quiet, "HOME": str(home), **extra}


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
