"""Test runs in forked children that have torch and the other large libraries imported already.

A child imports the project from a tree of its own, so nothing of one mutant is seen by the next. Knows pytest and
processes; knows nothing of mutants.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

LIBRARIES = (
    "torch", "torch.utils.data", "diffusers.schedulers", "diffusers.models.unets.unet_2d_condition",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "transformers.models.clip.modeling_clip", "transformers.models.clip.tokenization_clip", "ray.data",
    "pyarrow.compute", "pyarrow.parquet", "PIL.Image", "cv2", "boto3", "pydantic", "pandas", "hypothesis", "yaml",
    "safetensors.torch", "numpy", "typer", "rich",
)  # fmt: skip
"""None of them imports the project."""

PROJECT = ("dreamcache", "workers", "jobs", "recipes", "tests")
OPTIONS = (
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:anyio",  # imports event loops that nothing here uses
    "-m",
    "not ray and not slow and not browser",
)
NO_TESTS = 5
SLACK = 4
"""Seconds by the clock for each of CPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How a test run ended. failed: the first test that did; code: pytest's exit code, None when time ran out.

    seconds: of CPU, so that other work on the machine does not count.
    """

    code: int | None
    num_passed: int
    failed: str
    seconds: float


class Witness:
    """A pytest plugin that counts tests that pass and remembers the first that fails."""

    def __init__(self) -> None:
        self.num_passed, self.failed = 0, ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.num_passed += report.when == "call" and report.passed
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = f"{report.nodeid} (cannot be imported)"


class Child:
    """One test run of `tests` in the tree `root`, in a process group of its own; its output goes to `log`.

    limit_s: seconds of CPU.
    """

    def __init__(self, root: Path, tests: Sequence[str], log: Path, *, limit_s: float) -> None:
        self.answer, self.limit_s, self.started = log.with_suffix(".json"), limit_s, time.monotonic()
        self.answer.unlink(missing_ok=True)
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                code = _run(root, tests, log, self.answer)
            finally:
                os._exit(code)  # whatever was raised: the parent's context managers must not end here

    def result(self) -> Result | None:
        """None while it runs. Nothing of it runs afterwards."""
        ended, _, usage = os.wait4(self.pid, os.WNOHANG)
        if not ended and not self._is_out_of_time():
            return None
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if not ended:
            _, _, usage = os.wait4(self.pid, 0)
        seconds = usage.ru_utime + usage.ru_stime
        if not ended:
            return Result(code=None, num_passed=0, failed=f"more than {self.limit_s:.0f} s", seconds=seconds)
        answer: dict[str, Any] = {"code": 1, "num_passed": 0, "failed": "the process died"}
        if self.answer.exists():
            answer = json.loads(self.answer.read_text())
        return Result(**answer, seconds=seconds)

    def _is_out_of_time(self) -> bool:
        """More CPU time than the limit; or SLACK times as long by the clock, for one that waits for ever."""
        return (
            time.monotonic() - self.started > SLACK * self.limit_s
            or sum(psutil.Process(self.pid).cpu_times()[:2]) > self.limit_s
        )


def preload() -> None:
    """Imports the large libraries once, before any fork; one thread, since forked thread pools hang."""
    for name in LIBRARIES:
        import_module(name)
    import_module("torch").set_num_threads(1)
    gc.collect()
    gc.freeze()  # pytest collects garbage when it ends: not among the libraries, which takes as long as the tests


def _run(root: Path, tests: Sequence[str], log: Path, answer: Path) -> int:
    """In the child: the exit code of pytest, also written to `answer` with what the witness saw."""
    os.setsid()
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _use_tree(root)
    witness = Witness()
    code = int(
        pytest.main([*OPTIONS, f"--rootdir={root}", "-c", str(root / "pyproject.toml"), *tests], [witness])
    )
    sys.stdout.flush()
    answer.write_text(json.dumps({"code": code, "num_passed": witness.num_passed, "failed": witness.failed}))
    return code


def _use_tree(root: Path) -> None:
    """From here on, this process and those it starts import the project from `root`."""
    os.chdir(root)
    os.environ["PYTHONPATH"] = str(root)
    # Bytecode is written: that of the product is compared by hash, and the tests of a tree never change.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for name in [name for name in sys.modules if name.partition(".")[0] in PROJECT]:
        del sys.modules[name]
    # The editable installation points to the repository.
    sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
    sys.path[:] = [str(root), *(path for path in sys.path if path not in ("", str(Path.cwd())))]
