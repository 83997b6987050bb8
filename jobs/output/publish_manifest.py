"""The end of a run: from plan and ledger to failed.csv and manifest.parquet; the gallery after them.

    Join.windows --> row groups of manifest.parquet, lines of failed.csv, the gallery's first rows, counts

Everything is written to files of this machine, a window at a time, and uploaded whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import dreamcache
from dreamcache.core.errors import DreamCacheError, StorageError
from dreamcache.inference.facts import PlanFacts
from dreamcache.storage.ledger import Ledger
from jobs.gallery import ITEM_LIMIT
from jobs.output.csv_file import CsvFile
from jobs.output.folder import OutputFolder
from jobs.output.manifest import HARDLY_REPEATING, Counts, build_manifest, count_window, manifest_schema
from jobs.output.publish_gallery import publish_gallery
from jobs.planning.planner import Plan
from jobs.reconcile.join import Join, Window

ROUNDS = 10
FAILED_COLUMNS = ("subject_id", "prompt", "sample", "code", "message", "attempts", "item_id", "image")


def publish_manifest(
    made_plan: Plan,
    folder: OutputFolder,
    *,
    gallery: bool,
    on_note: Callable[[str], None] = lambda text: None,
) -> tuple[Counts, str | None]:
    """(counts of the whole plan, the gallery's address), from what the ledger holds now.

    A gallery that cannot be written is None, and `on_note` says why. Raises StorageError when other runs rewrite the
    manifest all the time.
    """
    for _ in range(ROUNDS):
        if published := _publish_once(made_plan, folder):
            counts, summary, first_rows = published
            return counts, _gallery(made_plan, folder, summary, first_rows, on_note) if gallery else None
    raise StorageError(
        f"output '{folder.uri}': manifest.json must keep still, other runs rewrote it {ROUNDS} times; wait for them, "
        f"then run the same command again",
        code="manifest_contended",
    )


def _publish_once(made_plan: Plan, folder: OutputFolder) -> tuple[Counts, dict[str, Any], pa.Table] | None:
    """(counts, manifest.json, the gallery's rows). None when another run has written a manifest since this one looked
    into the ledger: it may know more."""
    before = folder.manifest_version()
    with tempfile.TemporaryDirectory(prefix="dreamcache-manifest-") as place:
        written = ManifestFiles(made_plan, folder.uri, Path(place))
        with Join(made_plan.files, Ledger(folder.uri).scan()) as join, written:
            for window in join.windows():
                written.add(window)
        folder.write_failed(written.failed)
        summary = _summary(made_plan, written.counts)
        is_written = folder.write_manifest(written.manifest, summary, before)
    return (written.counts, summary, written.first_rows) if is_written else None


def _gallery(
    made_plan: Plan,
    folder: OutputFolder,
    summary: dict[str, Any],
    first_rows: pa.Table,
    on_note: Callable[[str], None],
) -> str | None:
    """The page's address. The manifest is there by now: whatever is wrong with the page costs the page alone."""
    try:
        return publish_gallery(summary, first_rows, folder, limits=made_plan.spec.limits)
    except Exception as error:  # noqa: BLE001 - photos and browsers' files are not worth a job that is done
        text = str(error) if isinstance(error, DreamCacheError) else f"{type(error).__name__}: {error}"
        on_note(
            f"the gallery was not written: {' '.join(text.split())[:300]}; the job is complete, "
            f"'dreamcache gallery {folder.uri}' writes the page again"
        )
        return None


class ManifestFiles:
    """manifest.parquet and failed.csv in a folder of this machine, and what is shown of them."""

    def __init__(self, made_plan: Plan, output: str, place: Path) -> None:
        self.manifest, self.failed = place / "manifest.parquet", place / "failed.csv"
        self.counts = Counts()
        self._plan, self._output = made_plan, output
        self._first: list[pa.Table] = []

    def __enter__(self) -> ManifestFiles:
        schema = manifest_schema(self._plan.attributes)
        repeating = [name for name in schema.names if name not in HARDLY_REPEATING]
        self._writer = pq.ParquetWriter(self.manifest, schema, compression="zstd", use_dictionary=repeating)
        self._csv = CsvFile(self.failed, FAILED_COLUMNS)
        return self

    def __exit__(self, *_: object) -> None:
        self._csv.close()
        self._writer.close()

    def add(self, window: Window) -> None:
        """The next rows, in plan order: one row group."""
        table = build_manifest(window, self._plan.attributes, self._output)
        self._writer.write_table(table)
        self.counts += count_window(window)
        without_image = table.filter(pc.is_in(table["status"], value_set=pa.array(["failed", "blocked"])))
        for row in without_image.select(FAILED_COLUMNS).to_pylist():
            self._csv.add(row)
        missing = ITEM_LIMIT - sum(first.num_rows for first in self._first)
        if missing > 0:
            self._first.append(table.slice(0, missing))

    @property
    def first_rows(self) -> pa.Table:
        """So many rows as a gallery shows."""
        return pa.concat_tables(self._first)


def _summary(made_plan: Plan, counts: Counts) -> dict[str, Any]:
    return {
        "job": made_plan.spec.name,
        "plan": made_plan.fingerprint,
        "subjects": made_plan.num_subjects,
        "counts": asdict(counts),
        **_models(made_plan.facts),
        "versions": versions(),
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _models(facts: PlanFacts) -> dict[str, Any]:
    """loras: on the base; trained_on: the adapter's base where it is another one (`model.allow_other_base`)."""
    base, adapter = facts.base, facts.adapter
    models: dict[str, Any] = {
        "base": {"name": base.name, "fingerprint": base.fingerprint},
        "adapter": {"fingerprint": adapter.fingerprint, "step": adapter.step},
    }
    if base.loras:
        models["base"]["loras"] = [
            {"file": Path(lora.location).name, "sha256": lora.sha256, "weight": lora.weight}
            for lora in base.loras
        ]
    if adapter.base_fingerprint not in (base.fingerprint, base.plain_fingerprint):
        models["adapter"]["trained_on"] = {"name": adapter.base_name, "fingerprint": adapter.base_fingerprint}
    return models


def versions() -> dict[str, str]:
    """Of what decides pixels, for the record."""
    names = ("torch", "diffusers", "transformers", "ray")
    return {"dreamcache": dreamcache.__version__, **{name: version(name) for name in names}}
