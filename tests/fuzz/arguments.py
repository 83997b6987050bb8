"""Command lines, in a folder with a job that can be planned: an argument a line of the input.

Verbs that start Ray or ask a cluster get no file that is there, so that they end at their arguments.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

import yaml

from jobs.cli.main import main
from tests.end_to_end.photos import write_catalog, write_photos
from tests.fuzz.target import LONGEST_MESSAGE, Read, Target

STARTING = (
    "run",
    "submit",
    "train",
    "synthesize",
    "evaluate",
    "doctor",
    "demo",
    "bench",
    "stop",
    "logs",
    "replay",
)
EXIT_CODES = (0, 1, 2, 3, 4, 130)
LINES = (
    "plan\njob.yaml\n--json", "plan\njob.yaml\n--set\nsamples=3", "status\nout\n--json", "list\n.",
    "outputs\nout\n--status\ndone", "export\nout\ntarget\n--to\ncsv\n--where\nstatus=done", "gallery\nout",
    "retry\njob.yaml\n--reason\nbad_image\n--dry-run", "replay\nnone.yaml\nabc",
    "run\nnone.yaml\n--set\ngeneration.seed=1\n--workers\n2", "init\nnew.yaml", "schema\njob",
    "cache\nlist\njob.yaml", "cache\nverify\nout-cache", "adapter\nshow\nmini", "train\nnone.yaml",
    "--version", "run\n--help", "doctor\nnone.yaml\n--address\nhttp://127.0.0.1:1",
)  # fmt: skip


def _reader(folder: Path) -> Read:
    os.environ.update(AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_EC2_METADATA_DISABLED="true", COLUMNS="80")
    os.chdir(folder)
    catalog = write_catalog(folder, write_photos(folder, 1))
    job = {"name": "j", "catalog": catalog, "output": "out", "prompts": ["p"], "model": {"base": "mini"}}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))

    def read(data: bytes) -> None:
        arguments = data.decode("utf-8", "surrogateescape").split("\n")
        if _may_run(arguments):
            _call(arguments)

    return read


def _may_run(arguments: list[str]) -> bool:
    """Nothing outside this folder is named, no network, nothing that begins to work."""
    starts = any(verb in arguments for verb in STARTING)
    for argument in arguments:
        value = argument.rpartition("=")[2]
        if "\0" in argument or ".." in value or value.startswith(("/", "~", "s3:", "file:")):
            return False
        if starts and value and value != "." and os.path.lexists(value):
            return False
    return True


def _call(arguments: list[str]) -> None:
    sys.argv = ["dreamcache", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code: object = 0
        except SystemExit as end:
            code = end.code or 0
    text = err.getvalue()
    assert code in EXIT_CODES, f"exit code {code!r}"
    assert "Traceback" not in text, text
    assert not code or text.strip() or out.getvalue().strip(), "an error without a word"
    assert len(text) < 2 * LONGEST_MESSAGE, f"{len(text)} characters on stderr: {text[:300]!r}"
    assert "\x1b" not in text, "an escape sequence reaches the terminal"


TARGETS = [
    Target(
        name="arguments",
        seeds=lambda folder: [line.encode() for line in LINES],
        reader=_reader,
        words=(
            "--json",
            "--set",
            "--where",
            "--status",
            "--limit",
            "=",
            "job.yaml",
            "out",
            "-1",
            "nan",
            "\x1b]52;c;eA==\x07",
        ),
        max_bytes=400,
    )
]
