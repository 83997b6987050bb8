"""The end of a run: from plan and ledger to failed.csv and manifest.parquet; the gallery after them.

    Join.windows --> row groups of manifest.parquet, lines of failed.csv, the gallery's first rows, counts

Everything is written to files of this machine, a window at a time, and uploaded whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import dreamcache
from dreamcache.core.config.provenance import ProvenanceSettings
from dreamcache.core.errors import DreamCacheError, StorageError
from dreamcache.inference.facts import PlanFacts
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.roots import roots_of_job
from dreamcache.storage.temporary import temporary_folder
from jobs.gallery import ITEM_LIMIT
from jobs.output import attributes
from jobs.output.cost import RowCounts, cost_summary
from jobs.output.csv_file import CsvFile
from jobs.output.folder import OutputFolder
from jobs.output.manifest import Counts
from jobs.output.manifest_files import ManifestFiles
from jobs.output.publish_gallery import publish_gallery
from jobs.output.review_columns import ReviewColumns
from jobs.planning.planner import Plan
from jobs.reconcile.join import Join

ROUNDS = 10
FAILED_COLUMNS = ("subject_id", "prompt", "sample", "code", "message", "attempts", "item_id", "image")


def publish_manifest(
    made_plan: Plan,
    folder: OutputFolder,
    *,
    gallery: bool,
    on_note: Callable[[str], None] = lambda text: None,
    spent: float = 0.0,
) -> tuple[Counts, str | None]:
    """(counts of the whole plan, the gallery's address), from what the ledger holds now. spent: money, at the price
    of the job.

    A gallery that cannot be written is None, and `on_note` says why. Raises StorageError when other runs rewrite the
    manifest all the time.
    """
    for _ in range(ROUNDS):
        if published := _publish_once(made_plan, folder, spent):
            counts, summary, first_rows = published
            return counts, _gallery(made_plan, folder, summary, first_rows, on_note) if gallery else None
    raise StorageError(
        f"output '{folder.uri}': manifest.json must keep still, other runs rewrote it {ROUNDS} times; wait for them, "
        f"then run the same command again",
        code="manifest_contended",
    )


def _publish_once(
    made_plan: Plan, folder: OutputFolder, spent: float
) -> tuple[Counts, dict[str, Any], pa.Table] | None:
    """(counts, manifest.json, the gallery's rows). None when another run has written a manifest since this one looked
    into the ledger: it may know more."""
    before = folder.manifest_version()
    ledger_version = folder.ledger_version()  # first: records that come later make the manifest an old one
    kinds = attributes.of_plan(made_plan.files.tables(attributes.COLUMNS), made_plan.attributes)
    with temporary_folder("manifest") as place:
        first, rows = _FirstRows(), RowCounts()
        reviews = ReviewColumns.of_output(folder.uri)
        written = ManifestFiles(kinds, folder.uri, place, rows=made_plan.num_items, reviews=reviews)
        with (
            Join(made_plan.files, Ledger(folder.uri).scan()) as join,
            written,
            CsvFile(place / "failed.csv", FAILED_COLUMNS) as failed,
        ):
            for window in join.windows():
                table = written.add(window)
                _add_failed(failed, table)
                first.add(table)
                rows.add(table)
        folder.write_failed(place / "failed.csv")
        summary = {
            **_summary(made_plan, written.counts),
            **_cost(made_plan, spent, rows),
            "ledger": ledger_version,
        }
        is_written = folder.write_manifest(written.manifest, summary, before, parts=written.parts)
    return (written.counts, summary, first.table) if is_written else None


def _gallery(
    made_plan: Plan,
    folder: OutputFolder,
    summary: dict[str, Any],
    first_rows: pa.Table,
    on_note: Callable[[str], None],
) -> str | None:
    """The page's address. The manifest is there by now: whatever is wrong with the page costs the page alone."""
    try:
        spec = made_plan.spec
        return publish_gallery(summary, first_rows, folder, limits=spec.limits, roots=roots_of_job(spec))
    except Exception as error:  # noqa: BLE001 - photos and browsers' files are not worth a job that is done
        text = str(error) if isinstance(error, DreamCacheError) else f"{type(error).__name__}: {error}"
        on_note(
            f"the gallery was not written: {' '.join(text.split())[:300]}; the job is complete, "
            f"'dreamcache gallery {folder.uri}' writes the page again"
        )
        return None


class _FirstRows:
    """So many rows of the manifest as a gallery shows."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        missing = ITEM_LIMIT - sum(first.num_rows for first in self._tables)
        if missing > 0:
            self._tables.append(table.slice(0, missing))

    @property
    def table(self) -> pa.Table:
        return pa.concat_tables(self._tables)


def _add_failed(file: CsvFile, table: pa.Table) -> None:
    without_image = table.filter(pc.is_in(table["status"], value_set=pa.array(["failed", "blocked"])))
    for row in without_image.select(FAILED_COLUMNS).to_pylist():
        file.add(row)


def _summary(made_plan: Plan, counts: Counts) -> dict[str, Any]:
    return {
        "job": made_plan.spec.name,
        "plan": made_plan.fingerprint,
        "subjects": made_plan.num_subjects,
        "counts": asdict(counts),
        **_models(made_plan.facts),
        "provenance": _provenance(made_plan.spec.provenance),
        "versions": versions(),
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cost(made_plan: Plan, spent: float, rows: RowCounts) -> dict[str, Any]:
    price = made_plan.spec.price
    return {} if price is None else {"cost": cost_summary(spent, price.currency, rows).as_dict()}


def _models(facts: PlanFacts) -> dict[str, Any]:
    """loras: on the base; quantize: its bits where they are fewer.

    trained_on: the adapter's base where it is another one (`model.allow_other_base`).
    """
    base, adapter = facts.base, facts.adapter
    models: dict[str, Any] = {
        "base": {"name": base.name, "fingerprint": base.fingerprint},
        "adapter": {"fingerprint": adapter.fingerprint, "step": adapter.step},
    }
    if base.quantize != "none":
        models["base"]["quantize"] = base.quantize
    if base.loras:
        models["base"]["loras"] = [
            {"file": lora.name, "sha256": lora.sha256, "weight": lora.weight} for lora in base.loras
        ]
    if adapter.base_fingerprint not in (base.fingerprint, base.plain_fingerprint):
        models["adapter"]["trained_on"] = {"name": adapter.base_name, "fingerprint": adapter.base_fingerprint}
    return models


def _provenance(settings: ProvenanceSettings) -> dict[str, Any]:
    """Marks of the images that this run generates; the column `marks` has those of each stored file."""
    return {"marking": settings.marking, "layers": list(settings.layers), "prompt": settings.prompt}


def versions() -> dict[str, str]:
    """Of what decides pixels, for the record."""
    names = ("torch", "diffusers", "transformers", "ray")
    return {"dreamcache": dreamcache.__version__, **{name: version(name) for name in names}}
