"""One job with every bad row and photo of the corpus among 40 good ones, on a disk and on S3: only they are lost.

The whole command with its gallery, and the memory of every process that it starts.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.command import write_job
from tests.corpus.kind import USED, Kind, cases
from tests.corpus.row_inputs import BUCKET, FOLDER, GOOD
from tests.end_to_end.photos import write_photos
from tests.end_to_end.processes import marked, running
from tests.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1500)]

NUM_GOOD = 40
SECONDS = 10.0
"""An input may take so long, in a mean over all of them; each alone is measured at its door."""
MOST_BYTES = 4 << 30
CGROUP = Path("/sys/fs/cgroup/memory")
CGROUP_BYTES = 8 << 30

Inputs = list[tuple[Kind, str]]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """peaks: VmHWM in bytes by the name of a process."""

    code: int
    log: str
    seconds: float
    rows: dict[str, dict[str, Any]]
    has_gallery: bool
    peaks: dict[str, int]


def label(kind: Kind, name: str) -> str:
    return f"{kind.name} {name}".encode("ascii", "backslashreplace").decode()[:150]


def inputs_of(where: str) -> Inputs:
    """What can stand in a catalog there."""
    # A catalog's cells are trimmed, so there this name is that of the good photo beside it.
    trimmed = ("photo/missing", "a space at the end")
    chosen = [one for one in cases("photo", "row") if where == "disk" or one[0].s3]
    chosen = [one for one in chosen if (one[0].name, one[1]) != trimmed]
    return [one for one in chosen if where != "disk" or not one[0].name.startswith("row-s3/")]


def write_catalog(folder: Path, inputs: Inputs) -> Path:
    """The catalog with all of them, good rows between; what they name lies below its folder."""
    (folder / "sub").mkdir(parents=True)
    good = write_photos(folder, NUM_GOOD)
    (folder / GOOD).write_bytes((folder / good[0]["image"]).read_bytes())
    rows: list[dict[str, object]] = [{**row, "subject_id": f"good {n}"} for n, row in enumerate(good)]
    for number, (kind, name) in enumerate(inputs):
        cells: dict[str, object] = {"image": GOOD, "subject_id": label(kind, name)}
        if kind.door == "row":
            written = kind.inputs[name](folder)
            assert isinstance(written, dict)
            cells |= written
        else:
            place = folder / "photos" / str(number)
            place.mkdir(parents=True)
            location = str(kind.inputs[name](place))
            is_whole = location.startswith("/") or "://" in location
            cells["image"] = location if is_whole else f"photos/{number}/{location}"
        rows.insert(number * len(rows) // len(inputs), cells)
    path = folder / "catalog.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(params=["disk", "s3"])
def ended(
    request: pytest.FixtureRequest, tmp_path: Path, tiny_model: dict[str, str], s3_server: S3Server
) -> tuple[str, Inputs, Ended]:
    where = request.param
    inputs = inputs_of(where)
    catalog = write_catalog(tmp_path / "catalog", inputs)
    location, extra = str(catalog), {}
    if where == "s3":
        s3_server.start()
        s3_server.make_bucket(BUCKET)
        for path in catalog.parent.rglob("*"):
            if path.is_file() and not path.is_symlink():
                key = f"{FOLDER}/{path.relative_to(catalog.parent)}"
                s3_server.client().put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
        location, extra = f"s3://{BUCKET}/{FOLDER}/{catalog.name}", s3_server.environment()
    job = write_job(
        tmp_path / "job",
        catalog=location,
        output=str(tmp_path / "output"),
        prompts=["a photo of a {class_name}"],
        model=tiny_model,
        failures={"item_timeout_s": 120},
    )
    return where, inputs, run(job, tmp_path, extra)


def run(job: str, folder: Path, extra: dict[str, str]) -> Ended:
    """The command to its end, in a memory cgroup where this machine lets us make one."""
    peaks: dict[str, int] = {}
    began = time.monotonic()
    with memory_cgroup() as group, running("run", job, "--json", extra=extra, log=folder / "log") as command:
        if group is not None:
            (group / "cgroup.procs").write_text(str(command.process.pid))
        watcher = threading.Thread(target=watch, args=(command.mark, command.process, peaks))
        watcher.start()
        code = command.process.wait(timeout=1200)
        watcher.join()
    output = folder / "output"
    manifest = output / "manifest.parquet"
    rows = pq.read_table(manifest).to_pylist() if manifest.is_file() else []
    return Ended(
        code=code,
        log=(folder / "log").read_text("utf-8", "replace"),
        seconds=time.monotonic() - began,
        rows={row["subject_id"]: row for row in rows},
        has_gallery=(output / "gallery" / "index.html").is_file(),
        peaks=peaks,
    )


def watch(mark: str, process: Any, peaks: dict[str, int]) -> None:
    """Peaks of the command's processes, until it has ended."""
    while process.poll() is None:
        for pid, name in marked(mark).items():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            if "VmHWM:" in status:
                peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
                peaks[f"{pid} {name}"] = max(peak, peaks.get(f"{pid} {name}", 0))
        time.sleep(0.2)


class memory_cgroup:  # noqa: N801 - used as a context manager only
    """A memory cgroup of CGROUP_BYTES, or None where there can be none."""

    def __enter__(self) -> Path | None:
        self.path: Path | None = CGROUP / f"corpus-{os.getpid()}"
        try:
            self.path.mkdir()
            (self.path / "memory.limit_in_bytes").write_text(str(CGROUP_BYTES))
        except OSError:
            self.path = None
        print(f"memory cgroup: {self.path or 'none'}")
        return self.path

    def __exit__(self, *error: object) -> None:
        for _ in range(100):
            try:
                if self.path is not None:
                    self.path.rmdir()
                return
            except OSError:  # a process of the command is still ending
                time.sleep(0.1)


def test_only_the_bad_rows_are_lost(ended: tuple[str, Inputs, Ended]) -> None:
    where, inputs, job = ended
    assert job.code == 3, job.log[-5000:]
    assert "Traceback" not in job.log
    good = [row for name, row in job.rows.items() if name.startswith("good ")]
    assert len(good) == NUM_GOOD
    assert all(row["status"] == "done" for row in good)
    wrong = {name: got for name, got in differences(where, inputs, job.rows)}
    assert not wrong, "\n".join(f"{name}: {got}" for name, got in wrong.items())
    assert job.has_gallery
    assert job.seconds < SECONDS * len(inputs)
    largest = max(job.peaks.items(), key=lambda item: item[1])
    print(f"{where}: {len(inputs)} inputs, {job.seconds:.0f} s, largest process {largest}")
    assert largest[1] < MOST_BYTES, largest


def differences(where: str, inputs: Inputs, rows: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Inputs with another outcome than theirs."""
    for kind, name in inputs:
        row = rows.get(label(kind, name)) or rows.get(label(kind, name)[:80])
        if row is None:
            if kind.code == USED or not any(kind.code == other["code"] for other in rows.values()):
                yield label(kind, name), f"no row, must be {kind.code or 'used'}"
            continue
        codes = {kind.code or None}
        if kind.door == "photo" and not row["image"].startswith(("s3://tests/", "/")):
            codes |= {"bad_image_uri"}
        if kind.door == "photo" and row["code"] == "outside_roots":
            codes |= {"outside_roots"}  # devices and links that lead away: refused before they are opened
        if row["code"] not in codes:
            yield label(kind, name), f"{row['code']} instead of {kind.code or 'used'}: {row['message']}"
        elif kind.code and not row["message"]:
            yield label(kind, name), "without a message"
