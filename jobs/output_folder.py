"""A job's output folder: claimed by one job, with its spec, status, manifest and failure list inside.

    job.yaml  plan/  images/  ledger/  manifest.parquet  manifest.json  failed.csv  status.json  gallery/

Knows names and order of writing: the manifest comes last. Knows nothing of how images are made.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from dreamcache.errors import SpecError
from dreamcache.storage.filesystem import join, store_for
from jobs.spec import JobSpec, dump_spec

PLAN_ROWS_PER_PART = 100_000
JOB_MARK = "# Written by 'dreamcache run': the job whose output this folder is.\n"
FAILED_COLUMNS = ("subject_id", "prompt", "sample", "code", "message", "attempts", "item_id", "image")


class OutputFolder:
    """Reads and writes the files of one output folder, local or s3://."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.store = store_for(self.uri)

    def at(self, *parts: str) -> str:
        return join(self.uri, *parts)

    def claim(self, spec: JobSpec) -> None:
        """Makes the folder this job's. Raises SpecError `other_job` when it is another's or holds other files."""
        text = (JOB_MARK + dump_spec(spec)).encode()
        try:
            held = self._held_job()
        except FileNotFoundError:
            stranger = next(iter(self.store.list(self.uri + "/")), None)
            if stranger is not None:
                raise SpecError(
                    f"output '{self.uri}': must be empty or this job's, but holds '{stranger.uri}' and no job.yaml; "
                    f"choose another folder",
                    code="other_job",
                ) from None
            if self.store.create(self.at("job.yaml"), text):
                return
            held = self._held_job()
        name = held.get("name")
        if name != spec.name:
            raise SpecError(
                f"output '{self.uri}': belongs to job '{name}', this one is '{spec.name}'; choose another folder, "
                f"or give this job that name to go on with it",
                code="other_job",
            )
        self.store.write(self.at("job.yaml"), text)

    def _held_job(self) -> dict[str, Any]:
        """The spec that an earlier run wrote here; FileNotFoundError when there is no job.yaml."""
        text = self.store.read(self.at("job.yaml"))
        # A user's own job file may lie here under the same name; it is never overwritten.
        held = yaml.safe_load(text) if text.startswith(JOB_MARK.encode()) else None
        if not isinstance(held, dict):
            raise SpecError(
                f"output '{self.uri}': must be empty or this job's, but holds a job.yaml that no run wrote; "
                f"choose another folder",
                code="other_job",
            )
        return held

    def write_plan(self, table: pa.Table) -> None:
        """plan/part-*.parquet, sorted as the catalog is."""
        old = {info.uri for info in self.store.list(self.at("plan") + "/")}
        written = set()
        for number, start in enumerate(range(0, max(1, table.num_rows), PLAN_ROWS_PER_PART)):
            uri = self.at("plan", f"part-{number:05d}.parquet")
            self.store.write(uri, parquet_bytes(table.slice(start, PLAN_ROWS_PER_PART)))
            written.add(uri)
        for uri in old - written:
            self.store.delete(uri)

    def write_status(self, status: dict[str, Any]) -> None:
        self.store.write(self.at("status.json"), json_bytes(status))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The file's object, or None when there is none yet."""
        try:
            value = json.loads(self.store.read(self.at(name)))
        except FileNotFoundError:
            return None
        return value if isinstance(value, dict) else None

    def write_failed(self, manifest: pa.Table) -> None:
        """failed.csv: what a merchandiser reads; one line per item without an image."""
        text = io.StringIO()
        writer = csv.writer(text)  # ends lines with CR LF, so that a CR in a cell is quoted and starts no row
        writer.writerow(FAILED_COLUMNS)
        for row in manifest.select(["status", *FAILED_COLUMNS]).to_pylist():
            if row["status"] not in ("done", "pending"):
                writer.writerow([_cell(row[name]) for name in FAILED_COLUMNS])
        self.store.write(self.at("failed.csv"), text.getvalue().encode())

    def write_manifest(self, manifest: pa.Table, summary: dict[str, Any]) -> None:
        """manifest.parquet, then manifest.json, which says that the former is whole.

        manifest.json is compared and swapped: of two drivers that end at once, the last to read wins, whole.
        """
        uri = self.at("manifest.json")
        for _ in range(10):
            before = self.store.stat(uri)
            self.store.write(self.at("manifest.parquet"), parquet_bytes(manifest))
            if self.store.replace(uri, json_bytes(summary), before.etag if before else None):
                return
        raise SpecError(f"output '{self.uri}': manifest.json is being rewritten by another run; wait for it")

    def read_manifest(self) -> pa.Table:
        """Raises FileNotFoundError before a run has ended."""
        return pq.read_table(pa.BufferReader(self.store.read(self.at("manifest.parquet"))))

    def write_file(self, key: str, data: bytes) -> None:
        self.store.write(self.at(*key.split("/")), data)


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def json_bytes(value: dict[str, Any]) -> bytes:
    """Readable JSON with sorted keys."""
    return (json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _cell(value: Any) -> str:
    """A spreadsheet must show a cell that begins like a formula, not run it."""
    text = "" if value is None else str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else text
