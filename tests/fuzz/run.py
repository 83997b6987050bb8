"""Fuzzes what reads files of others: python -m tests.fuzz.run [--seconds S] [--jobs N] [--again FILE] [NAME ...]

    targets, instrumented once --fork--> libFuzzer on one, with limits --> inputs read, or the input that breaks it

An input breaks a target that ends with anything but success or a DreamCacheError, takes more than 10 s, more than
2 GiB, or the process with it (a decoder that crashes). It is kept in the folder of finds, and --again reads it once
more. Exit code 1: something was found.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before torch is imported

import argparse
import hashlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dreamcache", "jobs"]):
    from tests.fuzz.target import Target, targets

    TARGETS = targets()  # imports what they read with

INPUT_S = 10
MEMORY_MB = 2048
FOUND = "fuzz-finds"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How the fuzzing of a target ended. num_inputs: read; problem: the last line of what went wrong, "" for none."""

    name: str
    num_inputs: int
    seconds: float
    peak_mb: int
    problem: str

    def line(self) -> str:
        text = f"{self.name:22} {self.num_inputs:>10,} inputs {self.seconds:6.0f} s {self.peak_mb:6,} MB"
        return f"{text}  {self.problem or 'clean'}"


def main() -> int:
    options = _options()
    if unknown := set(options.names) - set(TARGETS):
        raise SystemExit(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    wanted = [TARGETS[name] for name in options.names or TARGETS]
    if options.again:
        with tempfile.TemporaryDirectory() as folder:
            wanted[0].reader(Path(folder))(options.again.read_bytes())
        return 0
    finds = options.finds.absolute()
    finds.mkdir(exist_ok=True)
    outcomes = []
    for outcome in _all(wanted, options.seconds, options.jobs, finds):
        print(outcome.line(), flush=True)
        outcomes.append(outcome)
    problems = [outcome.name for outcome in outcomes if outcome.problem]
    total = sum(outcome.num_inputs for outcome in outcomes)
    print(
        f"{total:,} inputs, {len(problems)} of {len(outcomes)} targets with a find; finds and logs: {finds}"
    )
    return 1 if problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.fuzz.run")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=600, help="of each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument(
        "--finds", type=Path, default=Path(FOUND), help="folder of inputs that break a target"
    )
    parser.add_argument("--again", type=Path, help="reads one input, in this process")
    return parser.parse_args()


def _all(wanted: list[Target], seconds: int, jobs: int, finds: Path) -> Iterator[Outcome]:
    """At most `jobs` at a time."""
    running: dict[int, tuple[Target, float]] = {}
    waiting = list(wanted)
    while waiting or running:
        while waiting and len(running) < jobs:
            target = waiting.pop(0)
            running[_start(target, seconds, finds)] = (target, time.monotonic())
        process, status = os.wait()
        target, began = running.pop(process)
        yield _outcome(target, status, time.monotonic() - began, finds)


def _start(target: Target, seconds: int, finds: Path) -> int:
    """Starts libFuzzer in a child; returns its process id."""
    process = os.fork()
    if process:
        return process
    log = os.open(finds / f"{target.name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        _fuzz(target, seconds, finds)
    finally:
        os._exit(70)


def _fuzz(target: Target, seconds: int, finds: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{target.name}-"))
    for name in ("seeds", "corpus", "work"):
        (folder / name).mkdir()
    for number, seed in enumerate(target.seeds(folder / "seeds")):
        (folder / "corpus" / f"seed-{number:02}").write_bytes(seed)
    dictionary = []
    if target.words:
        (folder / "words").write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        dictionary = [f"-dict={folder / 'words'}"]
    read = target.reader(folder / "work")
    arguments = [
        f"fuzz-{target.name}", f"-max_total_time={seconds}", f"-timeout={INPUT_S}", f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={target.max_bytes}", f"-artifact_prefix={finds}/{target.name}-", "-print_final_stats=1",
        "-verbosity=1", *dictionary, str(folder / "corpus"),
    ]  # fmt: skip

    def one(data: bytes) -> None:
        try:
            read(data)
        except Exception:
            (finds / f"{target.name}-crash-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise

    atheris.Setup(arguments, one)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    """A word in the form of libFuzzer's dictionaries."""
    plain = range(32, 127)
    return "".join(chr(b) if b in plain and b not in b'"\\' else f"\\x{b:02x}" for b in word.encode())


def _outcome(target: Target, status: int, seconds: float, finds: Path) -> Outcome:
    log = (finds / f"{target.name}.log").read_text("utf-8", "replace")
    return Outcome(
        name=target.name,
        num_inputs=_number(log, r"stat::number_of_executed_units:\s*(\d+)") or _number(log, r".*^#(\d+)\b"),
        seconds=seconds,
        peak_mb=_number(log, r"stat::peak_rss_mb:\s*(\d+)"),
        problem="" if os.waitstatus_to_exitcode(status) == 0 else _problem(log),
    )


def _number(log: str, pattern: str) -> int:
    match = re.search(pattern, log, re.M | re.S)
    return int(match[1]) if match else 0


def _problem(log: str) -> str:
    """What the log says of the find, in a line."""
    for pattern in (r"ERROR: libFuzzer: (.+)", r"^(\w[\w.]*(?:Error|Exception|Exit)\b.*)$", r"^(\S.*)$"):
        if lines := re.findall(pattern, log, re.M):
            summary = re.findall(r"^(\w[\w.]*(?:Error|Exception)\b.*)$", log, re.M)
            return f"{lines[0]}; {summary[-1]}"[:160] if summary else str(lines[-1])[:160]
    return "ended without a word"


if __name__ == "__main__":
    sys.exit(main())
