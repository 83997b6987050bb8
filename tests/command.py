"""The real command `dreamcache`, in a process of its own, and a quick job for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml

COMMAND = str(Path(sys.prefix) / "bin" / "dreamcache")
AWS = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN")
TWO_STEPS = {"num_inference_steps": 2, "text_scale": 3.0, "image_scale": 2.0}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables with no AWS settings but those of `extra`, and one thread a process."""
    ours = {name: value for name, value in os.environ.items() if name not in AWS}
    quiet = {"OMP_NUM_THREADS": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    return {**ours, **quiet, **(extra or {})}


def dreamcache(
    *args: str, extra: Mapping[str, str] | None = None, seconds: float = 400
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end; look at `returncode`, `stdout` and `stderr`."""
    return subprocess.run(
        [COMMAND, *args], capture_output=True, text=True, timeout=seconds, env=environment(extra), check=False
    )


def in_process(*args: str, extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command in this process, without a start of Python and its imports: for what needs no process of its own.

    Its environment is this process's, AWS settings included; with `extra` that of `environment(extra)`.
    """
    from jobs.cli.main import main

    stdout, stderr, code = StringIO(), StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", ["dreamcache", *args])
        if extra is not None:
            for name in AWS:
                patch.delenv(name, raising=False)
            for name, value in extra.items():
                patch.setenv(name, value)
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(args, code, stdout.getvalue(), stderr.getvalue())


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a refused command says."""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: "), done.stderr
    assert done.stdout == ""
    return lines[0].removeprefix("error: ")


def write_job(folder: Path, **values: Any) -> str:
    """Writes job.yaml into the folder, two steps per image if nothing else is said; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({"name": "job", "generation": TWO_STEPS, **values}, allow_unicode=True))
    return str(path)
