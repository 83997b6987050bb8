"""The fuzzer itself: what breaks a target is reported and kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris")
pytestmark = [pytest.mark.slow, pytest.mark.turns(unit="module")]

ROOT = Path(__file__).parents[2]
BROKEN = """
from tests.fuzz import target
TARGETS = [
    target.Target(
        name="broken",
        seeds=lambda folder: [b"ab"],
        reader=lambda folder: lambda data: 1 / 0 if data[:1] == b"a" else None,
    )
]
"""


def fuzz(folder: Path, *arguments: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """The runner in a process of its own; finds go to `folder`."""
    code = f"{prelude}\nimport sys\nfrom tests.fuzz.run import main\nsys.exit(main())"
    command = [sys.executable, "-c", code, "--finds", str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_a_find_is_reported_and_kept(tmp_path: Path) -> None:
    (tmp_path / "broken_target.py").write_text(BROKEN)
    prelude = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import tests.fuzz.target as t, broken_target\n"
        "t.targets = lambda: {'broken': broken_target.TARGETS[0]}"
    )
    done = fuzz(tmp_path / "finds", "--seconds", "5", prelude=prelude)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ZeroDivisionError" in done.stdout
    assert list((tmp_path / "finds").glob("broken-crash-*"))
