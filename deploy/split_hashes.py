"""What 'uv pip compile --generate-hashes' prints, as two files: torch with its CUDA libraries, and all else.

    ... | python deploy/split_hashes.py FOLDER        # FOLDER/requirements.txt, FOLDER/requirements-torch.txt

An image for CPUs takes torch from another index, where its files have other hashes. Standard library only.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TORCH = re.compile(r"(torch|triton)==|(nvidia|cuda)-")
REQUIREMENT = re.compile(r"^[A-Za-z0-9_.\-\[\]]+==[^\n]*(?:\n    [^\n]*)*", re.MULTILINE)
HEAD = """\
# {what}, with the hashes of their files, for pip install --require-hashes. Linux on x86-64, Python 3.11.
# Written by 'make hashes' from pyproject.toml and constraints.txt.
"""


def main(folder: Path, compiled: str) -> None:
    """Writes both files."""
    requirements = REQUIREMENT.findall(compiled)
    torch = [one for one in requirements if TORCH.match(one)]
    rest = [one for one in requirements if not TORCH.match(one)]
    for name, what, chosen in (
        ("requirements.txt", "The packages of the image but torch", rest),
        ("requirements-torch.txt", "torch and the CUDA libraries of its default wheel", torch),
    ):
        (folder / name).write_text(HEAD.format(what=what) + "\n".join(chosen) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin.read())
